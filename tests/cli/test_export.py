from pathlib import Path

import pytest
import torch

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.export import main


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
