from pathlib import Path

import pytest

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.make_demo_set import main


def test_set_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [
        '--out',
        str(tmp_path / 'digits'),
        '--no-progress',
        '--num-train',
        '2',
        '--num-val',
        '1',
        '--num-test',
        '1',
    ]
    main(arguments)
    assert capsys.readouterr().out.endswith('digits: made\n')
    assert len((tmp_path / 'digits' / 'ImageSets' / 'Main' / 'train.txt').read_text().split()) == 2
    main(arguments)
    assert capsys.readouterr().out.endswith('digits: exists already\n')


def test_wrong_setting_and_foreign_folder_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'file').touch()
    for arguments in (['--num-train', '0'], []):
        with pytest.raises(SystemExit) as end:
            run_verb(main, ['--out', str(tmp_path), '--no-progress', *arguments])
        assert end.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
