"""A training that is killed at any moment, or finds the disk full, keeps what it has saved."""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm.checkpoint import load_data
from lckd_mm.errors import FileWriteError
from lckd_mm.latest_checkpoint import find_latest_checkpoint

from ..helpers.processes import run_forked
from ..scripts.toy_training import ToyData, make_runner


class _Improving(BaseMetric):
    """Its value increases with each evaluation, so that each epoch writes a new best checkpoint."""

    num_calls = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        _Improving.num_calls += 1
        return dict(score=float(_Improving.num_calls), other=float(_Improving.num_calls))


def _train(work_dir: Path, num_epochs: int = 3, resume: bool = False, **checkpoint: Any) -> None:
    _Improving.num_calls = 0
    options = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='score', rule='greater')
    make_runner(
        work_dir,
        train_cfg=dict(by_epoch=True, max_epochs=num_epochs, val_interval=1),
        val_dataloader=dict(dataset=ToyData(), batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=[_Improving()],
        default_hooks=dict(checkpoint={**options, **checkpoint}),
        resume=resume,
    ).train()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth*'))


def _on_file_operation(folder: Path, act: Callable[[str, str], None]) -> None:
    """Call a function before each operation of this process that changes files in a folder, for the rest of its life."""

    def watch(event: str, arguments: tuple) -> None:
        is_change = event in ('os.rename', 'os.remove') or (
            event == 'open' and not isinstance(arguments[0], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if is_change:
            path = Path(os.fsdecode(arguments[0])).absolute()
            # Files of subfolders are logs.
            if path.parent == folder:
                act(event, path.name)

    sys.addaudithook(watch)


def _train_until(folder: Path, operation: tuple[str, str]) -> None:
    def kill(*present: str) -> None:
        # The checkpoint is written a second time, with the name of the best one in it.
        if present == operation and (folder / 'best_score_epoch_1.pth').exists():
            os.kill(os.getpid(), signal.SIGKILL)

    _on_file_operation(folder, kill)
    _train(folder, 2)


def _train_with_snapshots(folder: Path, snapshots: Path) -> None:
    """Copy the folder before each operation: that is what a process leaves which is killed then."""
    names = (f'{number:03d}' for number in itertools.count())
    _on_file_operation(folder, lambda *_: shutil.copytree(folder, snapshots / next(names)) and None)
    _train(folder, 2)


def test_a_training_that_is_killed_at_any_moment_leaves_a_complete_checkpoint(tmp_path: Path) -> None:
    folder, snapshots = tmp_path / 'run', tmp_path / 'snapshots'
    assert run_forked(lambda: _train_with_snapshots(folder, snapshots)) == 0
    assert _names(folder) == ['best_score_epoch_2.pth', 'epoch_2.pth']
    reached = []
    for snapshot in sorted(snapshots.iterdir()):
        # Every file with its final name is complete.
        epochs = [load_data(path)['meta']['epoch'] for path in snapshot.glob('epoch_*.pth')]
        assert all(load_data(path)['state_dict'] for path in snapshot.glob('best_*.pth'))
        latest = find_latest_checkpoint(snapshot)
        reached.append(0 if latest is None else load_data(latest)['meta']['epoch'])
        assert reached[-1] == max(epochs, default=0)
    # No moment loses an epoch that was saved before, or the best checkpoint.
    assert reached == sorted(reached)
    assert set(reached) == {0, 1, 2}
    num_best = [len(list(snapshot.glob('best_*.pth'))) for snapshot in sorted(snapshots.iterdir())]
    assert num_best[num_best.index(1) :].count(0) == 0


OPERATIONS = [('os.remove', 'epoch_1.pth'), ('os.rename', 'epoch_2.pth.tmp'), ('os.rename', 'epoch_1.pth.tmp')]


@pytest.mark.parametrize('operation', OPERATIONS, ids=repr)
def test_the_resumed_training_deletes_what_the_killed_one_could_not(operation: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    assert run_forked(lambda: _train_until(folder, operation)) == -signal.SIGKILL
    assert run_forked(lambda: _train(folder, 3, resume=True)) == 0
    assert [name for name in _names(folder) if name.startswith('epoch')] == ['epoch_3.pth']


def test_checkpoints_are_deleted_as_before(tmp_path: Path) -> None:
    _train(tmp_path / 'two', 4, max_keep_ckpts=2)
    assert _names(tmp_path / 'two') == ['best_score_epoch_4.pth', 'epoch_3.pth', 'epoch_4.pth']
    _train(tmp_path / 'all', 2, max_keep_ckpts=-1, save_best=None, rule=None)
    assert _names(tmp_path / 'all') == ['epoch_1.pth', 'epoch_2.pth']
    _train(tmp_path / 'best', 2, save_best=['score', 'other'], interval=2)
    names = _names(tmp_path / 'best')
    assert names == ['best_other_epoch_2.pth', 'best_score_epoch_2.pth', 'epoch_2.pth']
    hub = load_data(tmp_path / 'two' / 'epoch_4.pth')['message_hub']['runtime_info']
    assert hub['keep_ckpt_ids'][-2:] == [3, 4]


def test_a_full_disk_ends_the_training_in_one_sentence_and_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def fail(source: Any, target: Any) -> None:
        if str(target).endswith('epoch_2.pth'):
            raise OSError(28, 'No space left on device')
        rename(source, target)

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(
        FileWriteError, match=r"epoch_2.pth' cannot be written \(No space left on device, .* MiB are free"
    ):
        _train(tmp_path, save_best=None, rule=None)
    assert _names(tmp_path) == ['epoch_1.pth']
    assert load_data(find_latest_checkpoint(tmp_path))['meta']['epoch'] == 1
    monkeypatch.undo()
    _train(tmp_path, resume=True, save_best=None, rule=None)
    assert _names(tmp_path) == ['epoch_3.pth']


def test_the_best_checkpoint_is_kept_if_the_next_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def fail(source: Any, target: Any) -> None:
        if str(target).endswith('best_score_epoch_2.pth'):
            raise OSError(28, 'No space left on device')
        rename(source, target)

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(FileWriteError):
        _train(tmp_path)
    assert _names(tmp_path) == ['best_score_epoch_1.pth', 'epoch_2.pth']


def test_configs_are_written_as_before(tmp_path: Path) -> None:
    cfg = Config(dict(a=1, b=dict(c=torch.pi)))
    for name in ('cfg.py', 'cfg.json', 'cfg.yml'):
        cfg.dump(tmp_path / name)
        assert Config.fromfile(tmp_path / name).to_dict() == cfg.to_dict()
    assert cfg.dump() == cfg.pretty_text
    assert len(list(tmp_path.iterdir())) == 3
