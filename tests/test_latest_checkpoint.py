"""The checkpoint from which a training is resumed."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import runner
from mmengine.hooks import CheckpointHook

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm.analysis.training import last_checkpoint
from lckd_mm.checkpoint import save_data
from lckd_mm.errors import CheckpointError, ConfigFileNotFoundError
from lckd_mm.latest_checkpoint import find_latest_checkpoint

from .scripts.toy_training import make_runner


def _save(path: Path, iteration: int, epoch: int | None = None, **entries: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    epoch = iteration // 10 if epoch is None else epoch
    state = dict(meta=dict(epoch=epoch, iter=iteration), state_dict={}, message_hub={}, optimizer={})
    state.update(entries)
    save_data({key: value for key, value in state.items() if value is not None}, path)
    return path


def _find(folder: Path) -> str | None:
    found = find_latest_checkpoint(folder)
    # All names of mmengine for it are replaced.
    assert runner.find_latest_checkpoint(str(folder)) == found
    assert runner.checkpoint.find_latest_checkpoint(str(folder)) == found
    assert runner.runner.find_latest_checkpoint(str(folder)) == found
    return found and Path(found).relative_to(folder).as_posix()


@pytest.mark.parametrize(
    'pointer', [None, '', '\0\0\0', 'epoch_1.pth', 'gone.pth', 'epoch_3.pth', 'best_mIoU_epoch_3.pth']
)
def test_the_complete_checkpoint_of_the_highest_iteration_is_found(pointer: str | None, tmp_path: Path) -> None:
    for epoch in (1, 2, 9, 10):
        _save(tmp_path / f'epoch_{epoch}.pth', 10 * epoch)
    _save(tmp_path / 'best_mIoU_epoch_3.pth', 300, optimizer=None)
    # Published without and with everything, and the student of a distillation.
    _save(tmp_path / 'epoch_10-0a1b2c3d.pth', 100, optimizer=None, message_hub=None)
    _save(tmp_path / 'epoch_20-0a1b2c3d.pth', 200, optimizer=None)
    _save(tmp_path / 'student.pth', 300, optimizer=None, message_hub=None)
    # The checkpoint of the teacher, trained for longer.
    _save(tmp_path / 'teacher.pth', 5000)
    (tmp_path / 'epoch_11.pth.tmp').write_bytes(b'PK')
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_text(pointer and str(tmp_path / pointer))
    assert _find(tmp_path) == 'epoch_10.pth'
    assert last_checkpoint(tmp_path) == tmp_path / 'epoch_10.pth'


@pytest.mark.parametrize('damage', ['cut', 'empty', 'text', 'zip', 'list'])
def test_a_damaged_file_is_skipped_and_named(damage: str, tmp_path: Path, caplog: Any) -> None:
    _save(tmp_path / 'epoch_1.pth', 10)
    last = _save(tmp_path / 'epoch_2.pth', 20)
    content = last.read_bytes()
    damaged = dict(cut=content[:-10], empty=b'', text=b'<html>', zip=b'PK\5\6' + bytes(18))
    last.write_bytes(damaged.get(damage, b''))
    if damage == 'list':
        save_data([1, 2], last)
    (tmp_path / 'last_checkpoint').write_text(str(last))
    messages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.logging.print_log', lambda message, **_: messages.append(message))
        assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')
        assert find_latest_checkpoint(tmp_path, is_logged=False) == str(tmp_path / 'epoch_1.pth')
    assert [str(last) in message for message in messages] == ([] if damage == 'list' else [True])


@pytest.mark.parametrize('content', [b'PK', b'code'], ids=['damaged', 'refused'])
def test_a_training_whose_checkpoints_cannot_be_read_is_not_started_anew(content: bytes, tmp_path: Path) -> None:
    last = tmp_path / 'epoch_9.pth'
    if content == b'code':
        torch.save(dict(meta={}, state_dict=os.system), last)
    else:
        last.write_bytes(content)
    before = last.read_bytes()
    with pytest.raises(
        CheckpointError, match=r'contains no checkpoint that can be read \(.*epoch_9.pth .*: restore one from a copy'
    ):
        find_latest_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match='contains no checkpoint that can be read'):
        make_runner(tmp_path, resume=True).train()
    assert last.read_bytes() == before
    # A training that is not resumed is not affected.
    make_runner(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=1)).train()
    assert _find(tmp_path) == 'epoch_1.pth'


def test_a_damaged_file_that_is_no_checkpoint_of_the_training_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / 'weights.pth').write_text('version https://git-lfs.github.com/spec/v1')
    assert _find(tmp_path) is None


def test_checkpoints_of_other_names_and_folders_are_found(tmp_path: Path) -> None:
    _save(tmp_path / 'iter_20.pth', 20)
    _save(tmp_path / 'iter_100.pth', 100)
    assert _find(tmp_path) == 'iter_100.pth'
    own = tmp_path / 'own'
    for step in (5, 40):
        _save(own / f'state-{step:08d}.ckpt', step)
    (own / 'last_checkpoint').write_text(str(own / 'state-00000005.ckpt'))
    assert _find(own) == 'state-00000040.ckpt'
    # CheckpointHook(out_dir='elsewhere') adds the name of the work directory.
    there = _save(tmp_path / 'elsewhere' / 'work' / 'epoch_2.pth', 20)
    _save(tmp_path / 'elsewhere' / 'work' / 'epoch_1.pth', 10)
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(there))
    assert find_latest_checkpoint(tmp_path / 'work') == str(there)


def test_a_copied_work_directory_uses_its_own_checkpoints(tmp_path: Path) -> None:
    old = _save(tmp_path / 'old' / 'epoch_1.pth', 10)
    (tmp_path / 'old' / 'last_checkpoint').write_text(str(old))
    shutil.copytree(tmp_path / 'old', tmp_path / 'new')
    _save(tmp_path / 'old' / 'epoch_2.pth', 20)
    assert _find(tmp_path / 'new') == 'epoch_1.pth'


def test_checkpoints_without_optimizer_can_be_resumed_as_before(tmp_path: Path) -> None:
    _save(tmp_path / 'epoch_1.pth', 10, optimizer=None)
    _save(tmp_path / 'epoch_2.pth', 20, optimizer=None)
    assert _find(tmp_path) == 'epoch_2.pth'


def test_the_end_of_an_epoch_is_preferred_to_its_last_iteration(tmp_path: Path) -> None:
    _save(tmp_path / 'iter_10.pth', 10, epoch=0)
    _save(tmp_path / 'epoch_1.pth', 10, epoch=1)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_10.pth'))
    assert _find(tmp_path) == 'epoch_1.pth'


def test_checkpoints_of_an_earlier_training_in_the_same_folder_are_ignored(tmp_path: Path) -> None:
    for epoch, time in ((1, '20260102_100000'), (2, '20260101_110000'), (3, '20260101_120000')):
        path = _save(tmp_path / f'epoch_{epoch}.pth', 10 * epoch, meta=dict(iter=10 * epoch, epoch=epoch, time=time))
        os.utime(path, (int(time[:8]), int(time[:8])))
    assert _find(tmp_path) == 'epoch_1.pth'
    # Files that were copied in another order have the times of their training.
    for epoch in (3, 2, 1):
        _save(
            tmp_path / f'epoch_{epoch}.pth',
            10 * epoch,
            meta=dict(iter=10 * epoch, epoch=epoch, time=f'2026010{epoch}_100000'),
        )
    assert _find(tmp_path) == 'epoch_3.pth'


def test_folders_and_remote_checkpoints_are_taken_from_the_file(tmp_path: Path) -> None:
    (tmp_path / 'epoch_1.pth').mkdir()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert _find(tmp_path) == 'epoch_1.pth'
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/epoch_2.pth')
    assert find_latest_checkpoint(tmp_path) == 's3://bucket/epoch_2.pth'


def test_without_a_checkpoint_the_training_starts_anew(tmp_path: Path) -> None:
    assert find_latest_checkpoint(tmp_path) is None
    assert find_latest_checkpoint(tmp_path / 'none') is None
    with pytest.raises(ConfigFileNotFoundError, match='contains no checkpoint'):
        last_checkpoint(tmp_path)
    (tmp_path / 'last_checkpoint').touch()
    training = make_runner(tmp_path, resume=True)
    training.train()
    assert training.epoch == 2
    assert _find(tmp_path) == 'epoch_2.pth'


def test_the_names_of_checkpoints_are_those_of_the_hook() -> None:
    assert CheckpointHook().filename_tmpl == 'epoch_{}.pth'
    assert CheckpointHook(by_epoch=False).filename_tmpl == 'iter_{}.pth'
