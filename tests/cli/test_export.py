from pathlib import Path

import pytest
import torch

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.export import main
from lckd_mm.errors import ConfigValueError


def test_student_of_a_checkpoint_is_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    state = {'architecture.head.weight': torch.ones(2), 'distiller.adapter.weight': torch.ones(2)}
    torch.save(dict(state_dict=state, meta=dict(epoch=3)), tmp_path / 'epoch_3.pth')
    main([str(tmp_path / 'epoch_3.pth'), str(tmp_path / 'new' / 'student.pth')])
    assert '1 keys' in capsys.readouterr().out
    student = torch.load(tmp_path / 'new' / 'student.pth', weights_only=True)
    assert list(student['state_dict']) == ['head.weight']
    assert student['meta'] == dict(epoch=3)


def test_missing_checkpoint_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        run_verb(main, [str(tmp_path / 'none.pth'), str(tmp_path / 'student.pth')])
    assert end.value.code == 2
    assert "none.pth' does not exist" in capsys.readouterr().err


def test_checkpoint_without_student_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(dict(state_dict={'head.weight': torch.ones(2)}), tmp_path / 'plain.pth')
    with pytest.raises(SystemExit) as end:
        run_verb(main, [str(tmp_path / 'plain.pth'), str(tmp_path / 'student.pth')])
    assert end.value.code == 2
    assert 'contains no student' in capsys.readouterr().err


def _save_training(path: Path) -> bytes:
    state = {'architecture.head.weight': torch.ones(2)}
    torch.save(dict(state_dict=state, meta=dict(epoch=3), optimizer={}, message_hub={}), path)
    return path.read_bytes()


@pytest.mark.parametrize('out', ['epoch_3.pth', './epoch_3.pth', 'link.pth', 'hard.pth', 'linked/epoch_3.pth'])
def test_the_checkpoint_of_a_training_is_not_replaced_by_its_student(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    content = _save_training(Path('epoch_3.pth'))
    Path('link.pth').symlink_to('epoch_3.pth')
    Path('hard.pth').hardlink_to('epoch_3.pth')
    Path('linked').symlink_to(tmp_path)
    with pytest.raises(SystemExit) as end:
        run_verb(main, ['epoch_3.pth', out])
    assert end.value.code == 2
    assert 'which would be lost' in capsys.readouterr().err
    assert Path('epoch_3.pth').read_bytes() == content


def test_only_an_exported_student_is_replaced(tmp_path: Path) -> None:
    source, out = tmp_path / 'epoch_3.pth', tmp_path / 'out.pth'
    training = _save_training(source)
    published = torch.save(dict(state_dict={'module.architecture.head.weight': torch.ones(2)}), out) or out.read_bytes()
    for content in (training, published, b'text of a user'):
        out.write_bytes(content)
        with pytest.raises(ConfigValueError, match='exists and is no exported student'):
            main([str(source), str(out)])
        assert out.read_bytes() == content
    out.unlink()
    main([str(source), str(out)])
    student = out.read_bytes()
    # A student, and an incomplete one.
    for content in (student, student[:-50], b''):
        out.write_bytes(content)
        main([str(source), str(out)])
        assert out.read_bytes() == student
    with pytest.raises(ConfigValueError, match='is a folder: give the path of a file'):
        main([str(source), str(tmp_path)])
