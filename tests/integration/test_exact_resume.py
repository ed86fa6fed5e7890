"""A resumed training is bit-identical to an uninterrupted one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from tests.helpers.noisy_training import EXACT_RESUME, train_noisy_model
from tests.helpers.resume_check import compare_runs, read_run

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
        train_noisy_model(first, **options)
        shutil.copytree(first, second)
        # What the interrupted training has not written.
        for path in second.glob('*.pth'):
            if path.name.startswith('best_') and _number(path.name) > _number(checkpoint):
                path.unlink()
        train_noisy_model(second, resume=True, load_from=str(second / checkpoint), **options)
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


def test_training_that_was_interrupted_before_its_first_checkpoint(tmp_path: Path) -> None:
    first, second = tmp_path / 'uninterrupted', tmp_path / 'resumed'
    train_noisy_model(first)
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=99, save_last=False))
    options = dict(default_hooks=hooks, train_cfg=dict(by_epoch=True, max_epochs=1), experiment_name='interrupted')
    train_noisy_model(second, **options)
    train_noisy_model(second, resume=True)
    assert compare_runs(read_run(first), read_run(second)) == []


def test_logs_of_earlier_trainings_in_the_work_directory_stay(tmp_path: Path) -> None:
    earlier = tmp_path / '20000101_000000' / 'vis_data' / 'scalars.json'
    earlier.parent.mkdir(parents=True)
    earlier.write_text('{"loss": 1.0, "iter": 99, "step": 99}\n')
    train_noisy_model(tmp_path)
    train_noisy_model(tmp_path, resume=True, load_from=str(tmp_path / 'epoch_1.pth'))
    train_noisy_model(tmp_path, resume=True, load_from=str(tmp_path / 'epoch_3.pth'))
    assert earlier.read_text() == '{"loss": 1.0, "iter": 99, "step": 99}\n'
    others = [path for path in tmp_path.glob('*/vis_data/scalars.json') if path != earlier]
    lines = [line for path in others for line in path.read_text().splitlines()]
    assert sum('"loss"' in line for line in lines) == 15
    assert sum('"score"' in line for line in lines) == 3
