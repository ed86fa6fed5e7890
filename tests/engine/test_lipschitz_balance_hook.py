import copy
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from lckd_mm.engine import LipschitzBalanceHook
from lckd_mm.models import LipschitzLoss


def _runner(weight: float = 2.0) -> SimpleNamespace:
    model = nn.Module()
    model.distiller = nn.Module()
    model.distiller.distill_losses = nn.ModuleDict(dict(loss_lipschitz=LipschitzLoss(loss_weight=weight)))
    hub = MessageHub.get_instance('lipschitz_balance_hook')
    return SimpleNamespace(model=model, message_hub=hub, iter=0, _resume=True)


def _weight(runner: SimpleNamespace) -> float:
    return float(runner.model.distiller.distill_losses['loss_lipschitz'].loss_weight)


def _step(hook: LipschitzBalanceHook, runner: SimpleNamespace, unweighted: float, rest: float) -> float:
    """One iteration with these losses; returns the share that the term had."""
    term = _weight(runner) * unweighted
    outputs = {'loss': torch.tensor(term + rest), 'distill.loss_lipschitz': torch.tensor(term)}
    hook.after_train_iter(runner, runner.iter, outputs=outputs)
    runner.iter += 1
    return term / (term + rest) if term + rest else math.nan


def _readings(n: int, seed: int = 0) -> list:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(n, 2, generator=generator) + 0.5
    return [(0.3 * a / (1 + i), 4 * b) for i, (a, b) in enumerate(noise.tolist())]


@pytest.mark.parametrize('share', [0.05, 0.1, 0.2])
def test_the_share_is_held_from_the_second_iteration_on_where_losses_are_steady(share: float) -> None:
    hook, runner = LipschitzBalanceHook(share), _runner()
    hook.before_train(runner)
    shares = [_step(hook, runner, 0.01, 5.0) for _ in range(5)]
    assert shares[0] == pytest.approx(0.02 / 5.02)
    assert shares[1:] == pytest.approx([share] * 4)


def test_the_share_is_held_on_average_while_the_term_shrinks_and_all_is_noisy() -> None:
    hook, runner = LipschitzBalanceHook(0.1), _runner()
    hook.before_train(runner)
    shares = [_step(hook, runner, *reading) for reading in _readings(200)]
    assert sum(shares[50:]) / 150 == pytest.approx(0.1, abs=0.03)


def test_without_smoothing_the_weight_follows_the_last_reading() -> None:
    hook, runner = LipschitzBalanceHook(0.2, momentum=0.0), _runner()
    for unweighted, rest in _readings(3):
        _step(hook, runner, unweighted, rest)
        assert _weight(runner) == pytest.approx(0.25 * rest / unweighted, rel=1e-5)


@pytest.mark.parametrize(
    ('unweighted', 'rest'), [(0.0, 5.0), (0.01, 0.0), (0.0, 0.0), (math.nan, 5.0), (math.inf, 5.0), (0.01, math.nan)]
)
@pytest.mark.parametrize('at', [0, 3])
def test_a_loss_that_is_zero_or_not_finite_leaves_weight_and_averages_alone(
    unweighted: float, rest: float, at: int
) -> None:
    hook, runner = LipschitzBalanceHook(0.1), _runner()
    for _ in range(at):
        _step(hook, runner, 0.01, 5.0)
    before = _weight(runner)
    _step(hook, runner, unweighted, rest)
    assert _weight(runner) == before
    _step(hook, runner, 0.01, 5.0)
    assert _weight(runner) == pytest.approx(5 / 0.01 / 9)


def test_the_weight_is_not_raised_above_its_bound() -> None:
    hook, runner = LipschitzBalanceHook(0.1, max_weight=7.0), _runner()
    _step(hook, runner, 1e-6, 5.0)
    assert _weight(runner) == 7.0


def test_a_resumed_training_goes_on_with_the_same_bits() -> None:
    readings = _readings(10)
    hook, runner = LipschitzBalanceHook(), _runner()
    hook.before_train(runner)
    for reading in readings[:5]:
        _step(hook, runner, *reading)
    checkpoint: dict = {}
    hook.before_save_checkpoint(runner, checkpoint)
    state = checkpoint['lipschitz_balance']['loss_lipschitz']
    assert all(type(value) is float for value in state.values()), 'a checkpoint is plain data'

    resumed, new_runner = LipschitzBalanceHook(), _runner()
    resumed.after_load_checkpoint(new_runner, copy.deepcopy(checkpoint))
    resumed.before_train(new_runner)
    assert _weight(new_runner) == _weight(runner)
    for reading in readings[5:]:
        _step(hook, runner, *reading)
        _step(resumed, new_runner, *reading)
        assert _weight(new_runner) == _weight(runner)


def test_a_checkpoint_of_which_only_the_weights_are_loaded_does_not_set_the_balance() -> None:
    hook, runner = LipschitzBalanceHook(), _runner()
    runner._resume = False
    hook.after_load_checkpoint(
        runner, dict(lipschitz_balance=dict(loss_lipschitz=dict(weight=9.0, term=1.0, rest=1.0)))
    )
    hook.before_train(runner)
    assert _weight(runner) == 2.0


def test_weight_and_share_are_logged() -> None:
    hook, runner = LipschitzBalanceHook(0.1, interval=2), _runner()
    for _ in range(2):
        _step(hook, runner, 0.01, 5.0)
    assert runner.message_hub.get_scalar('train/weight_loss_lipschitz').current() == pytest.approx(5 / 0.01 / 9)
    assert runner.message_hub.get_scalar('train/share_loss_lipschitz').current() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(share=0), 'share=0'),
        (dict(share=20), 'share=20'),
        (dict(momentum=1.0), r'momentum=1.0 is outside \[0, 1\)'),
        (dict(max_weight=0), 'max_weight=0'),
        (dict(interval=0), 'interval=0'),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LipschitzBalanceHook(**settings)


def test_what_cannot_be_balanced_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="did you mean 'loss_lipschitz'"):
        LipschitzBalanceHook(loss='loss_lip').before_train(_runner())
    with pytest.raises(ValueError, match=r'loss_weight=0\.0'):
        LipschitzBalanceHook().before_train(_runner(weight=0.0))
    with pytest.raises(TypeError, match='has no distiller'):
        LipschitzBalanceHook().before_train(SimpleNamespace(model=nn.Linear(1, 1)))
