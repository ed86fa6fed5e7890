import copy
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from lckd_mm.engine import LipschitzBalanceHook
from lckd_mm.models import LipschitzLoss

from ..models.conftest import batch, build, spectral_distiller  # noqa: F401


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
        (dict(of='gradients'), "did you mean 'gradient'"),
        (dict(measure_interval=0), 'measure_interval=0'),
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


def _distillation(build) -> nn.Module:  # noqa: F811
    model = build(spectral_distiller())
    model.init_weights()
    for module in model.modules():
        # The last BN of a residual block is zero at first.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.train()


def _gradient_lengths(model: nn.Module, losses: dict) -> dict:
    """Of the term and of the rest, by whole backward passes one after the other."""
    found = {}
    for side in ('term', 'rest'):
        model.zero_grad()
        values = [
            value for name, value in losses.items() if 'loss' in name and name.startswith('distill') == (side == 'term')
        ]
        sum(values).backward(retain_graph=True)
        # What the term does not reach, the classifier's head, does not count.
        grads = [p.grad for p in model.student.backbone.parameters()]
        found[side] = math.sqrt(sum(float(grad.square().sum()) for grad in grads))
    return found


@pytest.mark.parametrize('share', [0.1, 0.25])
def test_the_gradient_of_the_term_gets_its_share(build, batch, share: float) -> None:  # noqa: F811
    model = _distillation(build)
    runner = _runner()
    runner.model = model
    hook = LipschitzBalanceHook(share, of='gradient', momentum=0.0)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    total, outputs = model.parse_losses(model(*batch, mode='loss'))
    assert all(parameter.grad is None for parameter in model.parameters())
    # What was measured does not keep the iteration from its own backward pass.
    total.backward()
    hook.after_train_iter(runner, 0, outputs=outputs)
    lengths = _gradient_lengths(model, model(*batch, mode='loss'))
    assert lengths['term'] / (lengths['term'] + lengths['rest']) == pytest.approx(share, rel=1e-3)
    assert runner.message_hub.get_scalar('train/weight_loss_lipschitz').current() == pytest.approx(_weight(runner))


def test_gradients_are_measured_often_at_first_and_then_at_the_interval(build, batch) -> None:  # noqa: F811
    model = _distillation(build)
    runner = _runner()
    runner.model = model
    hook = LipschitzBalanceHook(of='gradient', measure_interval=10)
    hook.before_train(runner)
    measured = []
    for runner.iter in range(22):
        hook.before_train_iter(runner, runner.iter)
        with torch.no_grad():
            # An evaluation in between is none.
            model(*batch, mode='loss')
        if hook._is_due:
            measured.append(runner.iter)
    assert measured == [0, 1, 2, 4, 8, 10, 20]


def test_without_a_loss_to_compare_with_the_weight_stays(build, batch) -> None:  # noqa: F811
    model = _distillation(build)
    model.calculate_student_loss = False
    runner = _runner()
    runner.model = model
    before = _weight(runner)
    hook = LipschitzBalanceHook(of='gradient')
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    _, outputs = model.parse_losses(model(*batch, mode='loss'))
    hook.after_train_iter(runner, 0, outputs=outputs)
    assert _weight(runner) == before
