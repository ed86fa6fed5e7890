"""RunTimeHook: what the time of a training is spent on."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook

from lckd_mm.engine.hooks import RunTimeHook
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import classifier
from tests.helpers.toy_runners import RandomImages, toy_runner


class Clock:
    """A clock that only its user advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, 'perf_counter', lambda: self.now)

    def __deepcopy__(self, memo: Any) -> 'Clock':
        # A Runner copies its config.
        return self


class SlowImages(RandomImages):
    """Each image takes a second."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __getitem__(self, index: int) -> Any:
        self.clock.now += 1.0
        return super().__getitem__(index)


class SlowHook(Hook):
    """Takes 10 s before the training, 0.25 s in each iteration, 3 s after an epoch and 5 s in an evaluation."""

    priority = 'VERY_LOW'

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def before_train(self, runner: Any) -> None:
        self.clock.now += 10.0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.clock.now += 0.25

    def after_train_epoch(self, runner: Any) -> None:
        self.clock.now += 3.0

    def before_val_epoch(self, runner: Any) -> None:
        self.clock.now += 5.0


@pytest.mark.parametrize(
    ('loop', 'evaluation'),
    [
        (dict(by_epoch=True, max_epochs=2, val_interval=1), 2 * (3 + 5)),
        (dict(by_epoch=False, max_iters=4, val_interval=2), 3 + 2 * 5),
    ],
)
def test_each_moment_of_the_training_belongs_to_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: dict[str, Any], evaluation: float
) -> None:
    clock = Clock(monkeypatch)
    loader = dict(dataset=SlowImages(clock), batch_size=4, sampler=dict(type='DefaultSampler', shuffle=False))
    runner = toy_runner(
        build_model(classifier()),
        tmp_path,
        train_dataloader=loader,
        train_cfg=loop,
        custom_hooks=[RunTimeHook(), SlowHook(clock)],
    )
    before = time.time()
    runner.train()
    record = json.loads((tmp_path / 'run_time.json').read_text())
    assert record['num_images'] == 16
    assert before <= record['started'] <= time.time()
    assert record['seconds'] == dict(data_loading=16.0, iterations=4 * 0.25, evaluation=evaluation)


def test_an_evaluation_alone_writes_no_file(tmp_path: Path) -> None:
    runner = toy_runner(build_model(classifier()), tmp_path, custom_hooks=[RunTimeHook()])
    runner.val()
    assert not (tmp_path / 'run_time.json').exists()
