"""A resumed training is bit-identical to an uninterrupted one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from lckd_mm.analysis.resume_check import compare_runs, read_run
from lckd_mm.cli.hooks import EXACT_RESUME
from tests.helpers.noisy_training import noisy_runner

ITERATIONS = dict(by_epoch=False, max_iters=14, val_interval=4)


@pytest.fixture(autouse=True)
def _restored_managers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the process-wide scope, log and visualizer that a Runner creates."""
    for manager in (DefaultScope, MessageHub, MMLogger, Visualizer):
        monkeypatch.setattr(manager, '_instance_dict', manager._instance_dict.copy())


@pytest.fixture
def resume(tmp_path: Path) -> Callable[..., list[str]]:
    """Train, resume a copy of the work directory from a checkpoint, and return the differences."""

    def _resume(checkpoint: str, **options: Any) -> list[str]:
        first, second = tmp_path / 'uninterrupted', tmp_path / 'resumed'
        noisy_runner(first, **options).train()
        shutil.copytree(first, second)
        # What the interrupted training has not written.
        for path in second.glob('*.pth'):
            if path.name.startswith('best_') and _number(path.name) > _number(checkpoint):
                path.unlink()
        noisy_runner(second, resume=True, load_from=str(second / checkpoint), **options).train()
        return compare_runs(read_run(first), read_run(second))

    return _resume


def _number(name: str) -> int:
    return int(Path(name).stem.rpartition('_')[2])


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('checkpoint', ['epoch_1.pth', 'epoch_3.pth'])
def test_training_by_epochs(resume: Callable, checkpoint: str, workers: int) -> None:
    assert resume(checkpoint, workers=workers) == []


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('checkpoint', ['iter_4.pth', 'iter_12.pth'])
def test_training_by_iterations(resume: Callable, checkpoint: str, workers: int) -> None:
    assert resume(checkpoint, workers=workers, train_cfg=ITERATIONS) == []


@pytest.mark.parametrize('checkpoint', ['iter_4.pth', 'iter_10.pth'])
def test_checkpoint_within_an_epoch(resume: Callable, checkpoint: str) -> None:
    interval = int(checkpoint[5:-4])
    hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=interval))
    assert resume(checkpoint, workers=2, default_hooks=hooks) == []


@pytest.mark.parametrize('checkpoint', ['epoch_1.pth', 'epoch_2.pth'])
def test_accumulated_gradients(resume: Callable, checkpoint: str) -> None:
    optimizer = dict(optimizer=dict(type='AdamW', lr=0.1), accumulative_counts=3)
    assert resume(checkpoint, optim_wrapper=optimizer) == []


@pytest.mark.parametrize('workers', [0, 2])
def test_training_without_a_seed_in_the_config(resume: Callable, workers: int) -> None:
    assert resume('iter_4.pth', workers=workers, train_cfg=ITERATIONS, randomness=dict(seed=None)) == []


@pytest.mark.parametrize('name', EXACT_RESUME)
def test_each_hook_is_needed(resume: Callable, name: str) -> None:
    optimizer = dict(optimizer=dict(type='AdamW', lr=0.1), accumulative_counts=3)
    hooks = tuple(hook for hook in EXACT_RESUME if hook != name)
    assert resume('epoch_1.pth', hooks=hooks, optim_wrapper=optimizer) != []


@pytest.mark.parametrize('checkpoint', ['epoch_2.pth', 'epoch_4.pth'])
def test_early_stop(resume: Callable, checkpoint: str) -> None:
    """No score is better than the first by 1000, so that the training ends after the fourth evaluation."""
    hook = dict(type='EarlyStoppingHook', monitor='score', rule='greater', patience=3, min_delta=1000.0)
    assert resume(checkpoint, custom_hooks=[hook], train_cfg=dict(by_epoch=True, max_epochs=9)) == []
