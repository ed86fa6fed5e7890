"""Scalars of several runs in one work directory."""

import json
from pathlib import Path

import pytest

from lckd_mm.analysis.logs import read_scalars


def write_run(work_dir: Path, name: str, *steps: tuple[str, int]) -> None:
    """Write the scalars of a run, whose name is the value of all its readings."""
    path = work_dir / name / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps({key: name, 'step': step}) + '\n' for key, step in steps))


def values(work_dir: Path) -> tuple[dict[int, str], dict[int, str]]:
    scalars = read_scalars(work_dir)
    return (
        {step: reading['loss'] for step, reading in scalars.train.items()},
        {step: reading['mIoU'] for step, reading in scalars.val.items()},
    )


@pytest.mark.parametrize('unit', [1, 50], ids=['epochs', 'iterations'])
def test_a_new_training_in_the_same_folder_replaces_a_longer_one(unit: int, tmp_path: Path) -> None:
    for name, epochs in (('20260101_000000', (1, 2, 3)), ('20260102_000000', (1, 2))):
        write_run(tmp_path, name, *((key, n * f) for n in epochs for key, f in (('loss', 50), ('mIoU', unit))))
    new = '20260102_000000'
    assert values(tmp_path) == ({50: new, 100: new}, {unit: new, 2 * unit: new})


@pytest.mark.parametrize('unit', [1, 60], ids=['epochs', 'iterations'])
def test_a_resumed_training_keeps_what_is_before_its_checkpoint(unit: int, tmp_path: Path) -> None:
    """Epochs of 60 iterations and a log every 50: resumed after the second epoch, evaluated once more at its start."""
    old, new = '20260101_000000', '20260102_000000'
    write_run(tmp_path, old, ('loss', 50), ('mIoU', unit), ('loss', 100), ('mIoU', 2 * unit), ('loss', 150))
    write_run(tmp_path, new, ('loss', 150), ('mIoU', 3 * unit))
    assert values(tmp_path) == ({50: old, 100: old, 150: new}, {unit: old, 2 * unit: old, 3 * unit: new})


def test_an_evaluation_before_the_first_log_is_kept(tmp_path: Path) -> None:
    write_run(tmp_path, '20260101_000000', ('loss', 50), ('mIoU', 50))
    write_run(tmp_path, '20260102_000000', ('mIoU', 10), ('loss', 50))
    assert values(tmp_path) == ({50: '20260102_000000'}, {10: '20260102_000000'})


def test_a_run_without_a_training_step_replaces_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, '20260101_000000', ('loss', 50), ('mIoU', 1))
    write_run(tmp_path, '20260102_000000')
    assert values(tmp_path) == ({50: '20260101_000000'}, {1: '20260101_000000'})


def test_a_new_training_that_logs_no_loss_replaces_the_evaluations(tmp_path: Path) -> None:
    write_run(tmp_path, '20260101_000000', ('mIoU', 20), ('mIoU', 40), ('loss', 50), ('mIoU', 60), ('mIoU', 80))
    write_run(tmp_path, '20260102_000000', ('mIoU', 20), ('mIoU', 40))
    assert values(tmp_path) == ({50: '20260101_000000'}, dict.fromkeys((20, 40), '20260102_000000'))
