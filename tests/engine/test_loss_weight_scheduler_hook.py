import math
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub
from torch import nn

from lckd_mm.engine import LossWeightSchedulerHook
from lckd_mm.models import LipschitzLoss


def _runner(**progress: int) -> SimpleNamespace:
    model = nn.Module()
    model.distiller = nn.Module()
    model.distiller.distill_losses = nn.ModuleDict(dict(loss_lipschitz=LipschitzLoss()))
    hub = MessageHub.get_instance('loss_weight_scheduler_hook')
    return SimpleNamespace(model=model, message_hub=hub, max_epochs=200, max_iters=1000, **progress)


def test_published_step_comes_at_sixty_percent_of_the_epochs() -> None:
    hook = LossWeightSchedulerHook('loss_lipschitz', 0.8 / 200, 0.2 / 200)
    for epoch, weight in ((0, 0.8), (119, 0.8), (120, 0.2), (199, 0.2)):
        runner = _runner(epoch=epoch)
        hook.before_train(runner)
        hook.before_train_epoch(runner)
        assert runner.model.distiller.distill_losses['loss_lipschitz'].loss_weight == pytest.approx(weight / 200)


@pytest.mark.parametrize(
    ('policy', 'expected'), [('linear', [4, 4, 3, 2, 2]), ('cosine', [4, 4, 3, 2, 2]), ('step', [4, 2, 2, 2, 2])]
)
def test_policies_by_iteration(policy: str, expected: list) -> None:
    hook = LossWeightSchedulerHook('loss_lipschitz', 4, 2, policy=policy, begin=0.2, end=0.6, by_epoch=False)
    weights = []
    for iteration in (0, 200, 400, 600, 900):
        runner = _runner(iter=iteration)
        hook.before_train_iter(runner, 0)
        weights.append(runner.model.distiller.distill_losses['loss_lipschitz'].loss_weight)
    assert weights == pytest.approx(expected)


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
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossWeightSchedulerHook(**{**dict(loss='loss_lipschitz', start_weight=1, end_weight=0), **settings})


def test_an_unknown_loss_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="did you mean 'loss_lipschitz'"):
        LossWeightSchedulerHook('loss_lip', 1, 0).before_train(_runner(epoch=0))


def test_a_model_without_distiller_is_refused_before_training() -> None:
    runner = SimpleNamespace(model=nn.Linear(1, 1))
    with pytest.raises(TypeError, match='Linear, which has no distiller'):
        LossWeightSchedulerHook('loss_lipschitz', 1, 0).before_train(runner)
