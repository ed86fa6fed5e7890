import math
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from lckd_mm.engine import LipschitzBalanceHook, LossWeightSchedulerHook
from lckd_mm.errors import ConfigError
from lckd_mm.models import LipschitzLoss

from ..helpers.runners import distillation_model, fake_runner


def _runner(*hooks: LossWeightSchedulerHook, **progress: Any) -> SimpleNamespace:
    model = distillation_model(dict(loss_lipschitz=LipschitzLoss(), loss_other=LipschitzLoss()))
    return fake_runner(model, hooks, **{'max_epochs': 200, 'max_iters': 1000, **progress})


def _weight(runner: SimpleNamespace) -> float:
    return runner.model.distiller.distill_losses['loss_lipschitz'].loss_weight


def test_published_step_changes_the_weight_after_sixty_percent_of_the_epochs() -> None:
    hook = LossWeightSchedulerHook('loss_lipschitz', 0.8 / 200, 0.2 / 200)
    for epoch, weight in ((0, 0.8), (119, 0.8), (120, 0.2), (199, 0.2)):
        runner = _runner(hook, epoch=epoch)
        hook.before_train(runner)
        hook.before_train_epoch(runner)
        assert _weight(runner) == pytest.approx(weight / 200)
        assert runner.message_hub.get_scalar('train/weight_loss_lipschitz').current() == pytest.approx(weight / 200)


@pytest.mark.parametrize(
    ('policy', 'expected'), [('linear', [4, 4, 3, 2, 2]), ('cosine', [4, 4, 3, 2, 2]), ('step', [4, 2, 2, 2, 2])]
)
def test_each_policy_sets_its_weight_by_iteration(policy: str, expected: list[float]) -> None:
    hook = LossWeightSchedulerHook('loss_lipschitz', 4, 2, policy=policy, begin=0.2, end=0.6, by_epoch=False)
    weights = []
    for iteration in (0, 200, 400, 600, 900):
        runner = _runner(hook, iter=iteration)
        hook.before_train_iter(runner, 0)
        weights.append(_weight(runner))
    assert weights == pytest.approx(expected)


class _CustomIterBasedTrainLoop(IterBasedTrainLoop):
    """A loop by iterations of a downstream project."""


@pytest.mark.parametrize('loop', [IterBasedTrainLoop, _CustomIterBasedTrainLoop])
@pytest.mark.parametrize('policy', ['step', 'linear', 'cosine'])
def test_the_weight_moves_in_a_loop_that_counts_iterations(loop: type, policy: str) -> None:
    hook = LossWeightSchedulerHook('loss_lipschitz', 4, 2, policy=policy, begin=0.2, end=0.6)
    weights = []
    for iteration in (0, 199, 200, 600, 999):
        runner = _runner(hook, epoch=0, max_epochs=1, iter=iteration, train_loop=loop.__new__(loop))
        hook.before_train_epoch(runner)
        hook.before_train_iter(runner, 0)
        weights.append(_weight(runner))
    assert weights[0] == 4
    assert weights[3:] == [2, 2]


def test_cosine_is_flat_at_its_ends() -> None:
    hook = LossWeightSchedulerHook('x', 1, 0, policy='cosine', begin=0.0)
    assert hook.weight_at(0.25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(policy='steps'), "did you mean 'step'"),
        (dict(begin=0.7, end=0.6), r'begin=0.7 and end=0.6'),
        (dict(begin=60), 'begin=60'),
        (dict(start_weight=-1), 'start_weight=-1'),
    ],
)
def test_invalid_settings_are_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        LossWeightSchedulerHook(**{**dict(loss='loss_lipschitz', start_weight=1, end_weight=0), **settings})
    assert isinstance(error.value, ConfigError)


def test_an_unknown_loss_is_rejected_before_training() -> None:
    hook = LossWeightSchedulerHook('loss_lip', 1, 0)
    with pytest.raises(ValueError, match="did you mean 'loss_lipschitz'"):
        hook.before_train(_runner(hook))


def test_a_loss_without_a_weight_is_rejected_before_training() -> None:
    hook = LossWeightSchedulerHook('loss_l1', 1, 0)
    runner = fake_runner(distillation_model(dict(loss_l1=nn.L1Loss())), [hook])
    with pytest.raises(ValueError, match="'loss_l1' is a L1Loss, which has no `loss_weight`"):
        hook.before_train(runner)


def test_a_model_without_distiller_is_rejected_before_training() -> None:
    hook = LossWeightSchedulerHook('loss_lipschitz', 1, 0)
    with pytest.raises(TypeError, match='Linear, which has no distiller') as error:
        hook.before_train(fake_runner(nn.Linear(1, 1), [hook]))
    assert isinstance(error.value, ConfigError)


def _scheduler(loss: str = 'loss_lipschitz') -> LossWeightSchedulerHook:
    return LossWeightSchedulerHook(loss, 1, 0)


@pytest.mark.parametrize(
    ('hooks', 'names'),
    [
        ((_scheduler(), LipschitzBalanceHook()), 'LossWeightSchedulerHook and LipschitzBalanceHook'),
        ((LipschitzBalanceHook(), _scheduler()), 'LipschitzBalanceHook and LossWeightSchedulerHook'),
        ((_scheduler(), _scheduler()), 'LossWeightSchedulerHook and LossWeightSchedulerHook'),
        ((LipschitzBalanceHook(), LipschitzBalanceHook()), 'LipschitzBalanceHook and LipschitzBalanceHook'),
    ],
)
def test_two_hooks_that_set_the_weight_of_one_loss_are_rejected_before_training(hooks: tuple, names: str) -> None:
    for hook in hooks:
        with pytest.raises(ValueError, match=f"{names} both set the weight of 'loss_lipschitz'") as error:
            hook.before_train(_runner(*hooks))
        assert isinstance(error.value, ConfigError)


def test_hooks_on_different_losses_are_accepted() -> None:
    hooks = (_scheduler('loss_other'), LipschitzBalanceHook())
    for hook in hooks:
        hook.before_train(_runner(*hooks))
