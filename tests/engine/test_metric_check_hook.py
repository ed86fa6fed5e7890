from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from lckd_mm.engine.hooks import MetricCheckHook
from lckd_mm.errors import ConfigValueError
from tests.helpers.small_classifiers import build_distillation
from tests.helpers.toy_runners import toy_runner


class Recorder(Hook):
    """Records the random numbers that the first iteration would draw."""

    state: torch.Tensor

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 0:
            self.state = torch.random.get_rng_state()
            assert runner.model.training


class MetricOfManyImages(BaseMetric):
    """Produces nothing for a single image, as CocoMetric without a detection."""

    default_prefix = 'many'

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [len(sample) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {'score': 1.0} if len(results) > 1 else {}


class BrokenMetric(BaseMetric):
    """Cannot be computed for a single image, as the area under a curve with one class."""

    default_prefix = 'broken'

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [len(sample) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        raise ZeroDivisionError


def train(work_dir: Path, save_best: str | None, *hooks: dict, **options: Any) -> torch.Tensor:
    recorder = Recorder()
    checkpoint = dict(type='CheckpointHook', save_best=save_best, rule='greater')
    runner = toy_runner(
        build_distillation(),
        work_dir,
        default_hooks=dict(checkpoint=checkpoint),
        custom_hooks=[*hooks, recorder],
        train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
        **options,
    )
    runner.train()
    return recorder.state


def test_unknown_metric_is_reported_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigValueError, match=r"CheckpointHook: save_best 'accuracy/top-1' .*did you mean 'accuracy/top1'"
    ):
        train(tmp_path, 'accuracy/top-1', dict(type='MetricCheckHook'))
    assert not list(tmp_path.glob('*.pth'))


def test_known_metric_changes_no_random_number_and_no_result(tmp_path: Path) -> None:
    expected = train(tmp_path / 'a', 'accuracy/top1')
    assert torch.equal(train(tmp_path / 'b', 'accuracy/top1', dict(type='MetricCheckHook')), expected)
    values = [torch.load(tmp_path / name / 'epoch_1.pth')['state_dict'] for name in 'ab']
    assert all(torch.equal(values[0][key], values[1][key]) for key in values[0])


def test_metric_that_one_image_does_not_produce_is_accepted(tmp_path: Path) -> None:
    evaluator = [dict(type='mmpretrain.Accuracy', topk=(1,)), MetricOfManyImages()]
    train(tmp_path, 'many/score', dict(type='MetricCheckHook'), val_evaluator=evaluator)
    assert list(tmp_path.glob('best_many_score*.pth'))


def test_metric_that_cannot_be_computed_is_sent_to_the_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for it, also in the check."""
    sent: list[Any] = []
    monkeypatch.setattr('mmengine.evaluator.metric.broadcast_object_list', sent.append)
    runner = toy_runner(
        build_distillation(),
        tmp_path,
        val_evaluator=[BrokenMetric()],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='broken/score', rule='greater')),
    )
    metric = runner.val_loop.evaluator.metrics[0]
    MetricCheckHook().before_train(runner)
    assert sent == [[{'broken/failed': 0.0}]]
    with pytest.raises(ZeroDivisionError):
        metric.compute_metrics([])


def test_a_metric_of_another_without_prefix_that_one_image_cannot_give_is_accepted(tmp_path: Path) -> None:
    class Score(BaseMetric):
        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.results += [len(sample) for sample in data_samples]

        def compute_metrics(self, results: list) -> dict[str, float]:
            return dict(score=1.0)

    class Curve(Score):
        def compute_metrics(self, results: list) -> dict[str, float]:
            if len(results) < 2:
                raise ValueError('only one class')
            return dict(auc=1.0)

    train(tmp_path, 'auc', dict(type='MetricCheckHook'), val_evaluator=[Score(), Curve()])
    assert (tmp_path / 'best_auc_epoch_1.pth').is_file()
