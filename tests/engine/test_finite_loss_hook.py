"""Trainings that diverge, and those that only seem to."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lckd_mm.engine.hooks import FiniteLossHook
from lckd_mm.errors import ConfigRuntimeError
from tests.helpers.runners import fake_runner
from tests.helpers.small_classifiers import build_distillation, classification_batch, train_step
from tests.helpers.toy_runners import toy_runner

NAN, INF = float('nan'), float('inf')


def run(hook: FiniteLossHook, losses: list[float], model: nn.Module | None = None) -> None:
    """Call the hook after iterations with these losses."""
    for iteration, loss in enumerate(losses):
        outputs = dict(loss=torch.tensor(loss), loss_cls=torch.tensor(0.5), acc=torch.tensor(NAN))
        hook.after_train_iter(fake_runner(model or nn.Linear(1, 1), iter=iteration), 0, None, outputs)


def diverged() -> nn.Module:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.bias, NAN)
    return model


def test_weights_that_are_not_finite_are_reported_with_loss_and_iteration() -> None:
    with pytest.raises(ConfigRuntimeError, match=r"loss not finite since iteration 3; 1 parameters .* 'bias'"):
        run(FiniteLossHook(interval=5), [1, 1, NAN, INF, NAN], diverged())


def test_the_counter_is_read_only_at_the_interval() -> None:
    run(FiniteLossHook(interval=10), [NAN] * 9, diverged())


@pytest.mark.parametrize('losses', [[1.0, INF, NAN, 1.0, 1.0], [NAN] * 40 + [1.0], [NAN] * 49])
def test_steps_that_a_scaler_skips_are_accepted(losses: list[float]) -> None:
    run(FiniteLossHook(interval=1), losses)


def test_losses_that_stay_infinite_are_reported_although_the_weights_are_finite() -> None:
    with pytest.raises(ConfigRuntimeError, match='loss not finite since iteration 2'):
        run(FiniteLossHook(interval=1), [1.0] + [INF] * 50)


def test_frozen_parameters_and_metrics_may_have_any_value() -> None:
    model = diverged()
    model.bias.requires_grad = False
    FiniteLossHook().before_save_checkpoint(fake_runner(model), {})
    run(FiniteLossHook(interval=1), [1.0] * 60, model)


def test_no_checkpoint_of_weights_that_are_not_finite_is_written(tmp_path: Path) -> None:
    options: dict[str, Any] = dict(
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e30)), custom_hooks=[dict(type='FiniteLossHook')]
    )
    runner = toy_runner(build_distillation(), tmp_path, **options)
    with pytest.raises(ConfigRuntimeError, match='diverged'):
        runner.train()
    assert not list(tmp_path.glob('epoch_*.pth'))


def test_the_tap_of_a_student_that_is_not_finite_is_named() -> None:
    model = build_distillation()
    model.init_weights()
    with torch.no_grad():
        model.architecture.backbone.layer3[0].conv1.weight.fill_(NAN)
    train_step(model, classification_batch())
    assert "the student's tap 'backbone.layer3' is not finite at iteration" in model.distiller.nonfinite_tap
    runner = SimpleNamespace(model=model, iter=0)
    with pytest.raises(ConfigRuntimeError, match=r"the student's tap 'backbone\.layer3' is not finite"):
        FiniteLossHook().before_save_checkpoint(runner, {})
