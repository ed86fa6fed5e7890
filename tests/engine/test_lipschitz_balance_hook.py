import copy
import logging
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lckd_mm.engine import LipschitzBalanceHook
from lckd_mm.errors import ConfigError
from lckd_mm.models import LipschitzLoss

from ..helpers.runners import distillation_model, fake_runner
from ..helpers.small_classifiers import TAPS, build_distillation, classification_batch, train_step


def _runner(weight: float = 2.0) -> SimpleNamespace:
    return fake_runner(distillation_model(dict(loss_lipschitz=LipschitzLoss(loss_weight=weight))), _resume=True)


def _weight(runner: SimpleNamespace) -> float:
    return float(runner.model.distiller.distill_losses['loss_lipschitz'].loss_weight)


def _step(hook: LipschitzBalanceHook, runner: SimpleNamespace, unweighted: float, rest: float) -> float:
    """Run one iteration with these losses and return the share of the Lipschitz loss."""
    term = _weight(runner) * unweighted
    outputs = {'loss': torch.tensor(term + rest), 'distill.loss_lipschitz': torch.tensor(term)}
    hook.after_train_iter(runner, runner.iter, outputs=outputs)
    runner.iter += 1
    return term / (term + rest) if term + rest else math.nan


def _loss_values(num_iters: int, seed: int = 0) -> list[tuple[float, float]]:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(num_iters, 2, generator=generator) + 0.5
    return [(0.3 * a / (1 + i), 4 * b) for i, (a, b) in enumerate(noise.tolist())]


@pytest.mark.parametrize('share', [0.05, 0.1, 0.2])
def test_with_constant_losses_the_share_is_exact_from_the_second_iteration_on(share: float) -> None:
    hook, runner = LipschitzBalanceHook(share), _runner()
    hook.before_train(runner)
    shares = [_step(hook, runner, 0.01, 5.0) for _ in range(5)]
    assert shares[0] == pytest.approx(0.02 / 5.02)
    assert shares[1:] == pytest.approx([share] * 4)


def test_with_noisy_decreasing_losses_the_share_is_correct_on_average() -> None:
    hook, runner = LipschitzBalanceHook(0.1), _runner()
    hook.before_train(runner)
    shares = [_step(hook, runner, *value_pair) for value_pair in _loss_values(200)]
    assert sum(shares[50:]) / 150 == pytest.approx(0.1, abs=0.03)


def test_without_smoothing_the_weight_follows_the_last_iteration() -> None:
    hook, runner = LipschitzBalanceHook(0.2, momentum=0.0), _runner()
    for unweighted, rest in _loss_values(3):
        _step(hook, runner, unweighted, rest)
        assert _weight(runner) == pytest.approx(0.25 * rest / unweighted, rel=1e-5)


@pytest.mark.parametrize(
    ('unweighted', 'rest'), [(0.0, 5.0), (0.01, 0.0), (0.0, 0.0), (math.nan, 5.0), (math.inf, 5.0), (0.01, math.nan)]
)
@pytest.mark.parametrize('num_iters', [0, 3])
def test_a_loss_that_is_zero_or_not_finite_leaves_weight_and_averages_unchanged(
    unweighted: float, rest: float, num_iters: int
) -> None:
    hook, runner = LipschitzBalanceHook(0.1), _runner()
    for _ in range(num_iters):
        _step(hook, runner, 0.01, 5.0)
    before = _weight(runner)
    _step(hook, runner, unweighted, rest)
    assert _weight(runner) == before
    _step(hook, runner, 0.01, 5.0)
    assert _weight(runner) == pytest.approx(5 / 0.01 / 9)


def test_the_weight_does_not_exceed_its_bound() -> None:
    hook, runner = LipschitzBalanceHook(0.1, max_weight=7.0), _runner()
    _step(hook, runner, 1e-6, 5.0)
    assert _weight(runner) == 7.0


def test_a_resumed_training_continues_bit_identically() -> None:
    values = _loss_values(10)
    hook, runner = LipschitzBalanceHook(), _runner()
    hook.before_train(runner)
    for value_pair in values[:5]:
        _step(hook, runner, *value_pair)
    checkpoint: dict = {}
    hook.before_save_checkpoint(runner, checkpoint)
    state = checkpoint['lipschitz_balance']['loss_lipschitz']
    assert all(type(value) is float for value in state.values()), 'a checkpoint contains only plain data'

    resumed, new_runner = LipschitzBalanceHook(), _runner()
    resumed.after_load_checkpoint(new_runner, copy.deepcopy(checkpoint))
    resumed.before_train(new_runner)
    assert _weight(new_runner) == _weight(runner)
    # The product with a loss in bfloat16 has the same type; a number would leave it in bfloat16.
    weights = [r.model.distiller.distill_losses['loss_lipschitz'].loss_weight for r in (runner, new_runner)]
    dtypes = [(weight * torch.ones((), dtype=torch.bfloat16)).dtype for weight in weights]
    assert dtypes[0] == dtypes[1]
    for value_pair in values[5:]:
        _step(hook, runner, *value_pair)
        _step(resumed, new_runner, *value_pair)
        assert _weight(new_runner) == _weight(runner)


def test_loading_only_weights_does_not_restore_the_state() -> None:
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
        (dict(measure='gradients'), "did you mean 'gradient'"),
        (dict(measure_interval=0), 'measure_interval=0'),
    ],
)
def test_invalid_settings_are_rejected(settings: dict[str, float | str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        LipschitzBalanceHook(**settings)
    assert isinstance(error.value, ConfigError)


def test_a_loss_that_cannot_be_balanced_is_rejected_before_training() -> None:
    with pytest.raises(ValueError, match="did you mean 'loss_lipschitz'"):
        LipschitzBalanceHook(loss='loss_lip').before_train(_runner())
    with pytest.raises(ValueError, match=r'loss_weight=0\.0'):
        LipschitzBalanceHook().before_train(_runner(weight=0.0))
    with pytest.raises(TypeError, match='has no distiller'):
        LipschitzBalanceHook().before_train(SimpleNamespace(model=nn.Linear(1, 1)))


@pytest.mark.parametrize('measure', ['loss', 'gradient'])
def test_without_a_lipschitz_loss_the_hook_does_nothing(measure: str, caplog: pytest.LogCaptureFixture) -> None:
    distiller = dict(type='LipschitzDistiller', taps=TAPS, losses=dict(at=dict(), lipschitz=None))
    model = build_distillation(distiller)
    model.init_weights()
    hook, runner = LipschitzBalanceHook(measure=measure), fake_runner(model)
    with caplog.at_level(logging.INFO):
        hook.before_train(runner)
    assert 'no loss of this distillation compares spectral norms' in caplog.text
    hook.before_train_iter(runner, 0)
    losses = train_step(model, classification_batch())
    hook.after_train_iter(runner, 0, outputs={**losses, 'loss': torch.tensor(1.0)})
    checkpoint: dict[str, Tensor] = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert not checkpoint


def test_a_lipschitz_loss_of_another_name_is_reported() -> None:
    distiller = dict(type='LipschitzDistiller', taps=TAPS, losses=dict(norms=dict(type='lipschitz')))
    with pytest.raises(ValueError, match="'loss_lipschitz' is unknown; valid: 'loss_norms'"):
        LipschitzBalanceHook().before_train(fake_runner(build_distillation(distiller)))


def test_the_log_states_that_the_configured_weight_does_not_last(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LipschitzBalanceHook(0.25, measure='gradient').before_train(_runner(weight=2.0))
    assert 'share of 0.25 of the gradient norm; its loss_weight, 2, is that of the first iteration only' in caplog.text


def _distillation() -> nn.Module:
    model = build_distillation()
    model.init_weights()
    for module in model.modules():
        # The weight of the last BN of a residual block is initialized with zero.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.train()


def _gradient_norms(model: nn.Module, losses: dict[str, Tensor]) -> dict[str, float]:
    """Compute the gradient norms of the Lipschitz loss and of the other losses by two separate backward passes."""
    norms = {}
    for side in ('term', 'rest'):
        model.zero_grad()
        values = [
            value for name, value in losses.items() if 'loss' in name and name.startswith('distill') == (side == 'term')
        ]
        sum(values).backward(retain_graph=True)
        # The Lipschitz loss does not reach the classifier's head, which therefore does not count.
        gradients = [p.grad for p in model.student.backbone.parameters()]
        norms[side] = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    return norms


@pytest.mark.parametrize('share', [0.1, 0.25])
def test_the_gradient_norm_of_the_loss_gets_its_share(share: float) -> None:
    model = _distillation()
    runner = _runner()
    runner.model = model
    hook = LipschitzBalanceHook(share, measure='gradient', momentum=0.0)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    total, outputs = model.parse_losses(model(*classification_batch(), mode='loss'))
    assert all(parameter.grad is None for parameter in model.parameters())
    # The measurement leaves the graph intact for the backward pass of the iteration.
    total.backward()
    hook.after_train_iter(runner, 0, outputs=outputs)
    norms = _gradient_norms(model, model(*classification_batch(), mode='loss'))
    assert norms['term'] / (norms['term'] + norms['rest']) == pytest.approx(share, rel=1e-3)
    assert runner.message_hub.get_scalar('train/weight_loss_lipschitz').current() == pytest.approx(_weight(runner))


def test_gradients_are_measured_at_powers_of_two_and_then_at_the_interval() -> None:
    model = _distillation()
    runner = _runner()
    runner.model = model
    hook = LipschitzBalanceHook(measure='gradient', measure_interval=10)
    hook.before_train(runner)
    measured = []
    for runner.iter in range(22):
        hook.before_train_iter(runner, runner.iter)
        with torch.no_grad():
            # A forward pass without gradients is not measured.
            model(*classification_batch(), mode='loss')
        if hook._is_measurement_due:
            measured.append(runner.iter)
    assert measured == [0, 1, 2, 4, 8, 10, 20]


def test_without_any_other_loss_the_weight_does_not_change() -> None:
    model = _distillation()
    model.calculate_student_loss = False
    runner = _runner()
    runner.model = model
    before = _weight(runner)
    hook = LipschitzBalanceHook(measure='gradient')
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    _, outputs = model.parse_losses(model(*classification_batch(), mode='loss'))
    hook.after_train_iter(runner, 0, outputs=outputs)
    assert _weight(runner) == before
