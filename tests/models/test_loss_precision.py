"""All losses of a distillation are computed in float32 under autocast."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lckd_mm.models.distillers.loss_precision import compute_in_float32
from lckd_mm.models.interfaces import accepts_half_precision
from lckd_mm.models.presets import PRESETS
from tests.helpers.small_classifiers import TAPS, build_distillation, train_step

LOSSES = {name: (dict(adapt=False) if name == 'lipschitz' else {}) for name in PRESETS}


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_no_loss_receives_half_precision_or_runs_under_autocast(batch: tuple, dtype: torch.dtype) -> None:
    model = build_distillation(dict(type='LipschitzDistiller', taps=TAPS, losses=LOSSES))
    model.init_weights()
    seen: dict[str, set[torch.dtype]] = {}

    def record(name: str, loss: nn.Module) -> Any:
        def hook(_: nn.Module, __: tuple, arguments: dict) -> None:
            assert not torch.is_autocast_enabled('cpu')
            seen[name] = {tensor.dtype for tensor in _tensors(arguments) if tensor.is_floating_point()}

        return loss.register_forward_pre_hook(hook, with_kwargs=True)

    for name, loss in model.distiller.distill_losses.items():
        record(name, loss)
    with torch.autocast('cpu', dtype=dtype):
        losses = train_step(model, batch)
    assert set(seen) == set(model.distiller.distill_losses)
    for name, dtypes in seen.items():
        assert losses[f'distill.{name}'].dtype == torch.float32, name
        if not accepts_half_precision(model.distiller.distill_losses[name]):
            assert dtypes == {torch.float32}, name


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for item in items for tensor in _tensors(item)]


@pytest.mark.parametrize('name', ['cwd', 'ofd', 'fitnet', 'at'])
def test_loss_of_half_precision_maps_is_that_of_their_float64_copies(name: str) -> None:
    from mmrazor.registry import MODELS

    torch.manual_seed(0)
    loss = MODELS.build({'_scope_': 'mmrazor', **PRESETS[name].expand().losses['']})
    teacher = torch.randn(2, 8, 40, 40).bfloat16()
    student = (teacher.float() + 0.1 * torch.randn(2, 8, 40, 40)).bfloat16()
    maps = dict(student=[student], teacher=[teacher])
    exact = {key: [feature.double() for feature in features] for key, features in maps.items()}
    with torch.autocast('cpu', dtype=torch.bfloat16):
        actual = compute_in_float32(loss, maps)
    torch.testing.assert_close(actual.double(), loss(**exact), rtol=1e-3, atol=0)


class _Levels(NamedTuple):
    fine: Tensor
    coarse: Tensor


def test_maps_in_a_named_tuple_are_converted() -> None:
    class Loss(nn.Module):
        def forward(self, maps: list[Tensor]) -> Tensor:
            return sum(feature.sum() for feature in maps)

    maps = _Levels(torch.ones(2).bfloat16(), torch.ones(3).half())
    assert compute_in_float32(Loss(), dict(maps=maps)).dtype == torch.float32


def test_integers_and_other_values_stay_as_they_are() -> None:
    class Loss(nn.Module):
        def forward(self, scores: Tensor, labels: Tensor, ratios: None, options: dict) -> Tensor:
            assert labels.dtype == torch.int64
            assert ratios is None
            assert options == {'mode': 'sum'}
            return scores.sum()

    scores = torch.ones(3, dtype=torch.float64)
    arguments = dict(scores=scores, labels=torch.arange(3), ratios=None, options={'mode': 'sum'})
    assert compute_in_float32(Loss(), arguments).dtype == torch.float64
