"""Distillation losses whose gradient does not arrive, and those whose gradient does."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.models.distillers.gradient_check import reaches_any
from tests.helpers.small_classifiers import build_distillation, classifier, ofd_distiller, spectral_distiller


def _freeze_all(model: nn.Module) -> None:
    model.student.backbone.requires_grad_(False)


def _freeze_up_to_last_tap(model: nn.Module) -> None:
    for name, parameter in model.student.backbone.named_parameters():
        parameter.requires_grad = name.startswith('layer4')


def _run_without_graph(model: nn.Module) -> None:
    forward = model.student.backbone.forward
    model.student.backbone.forward = torch.no_grad()(forward)


@pytest.mark.parametrize('break_gradient', [_freeze_all, _run_without_graph])
@pytest.mark.parametrize('adapters', ['auto', False])
def test_a_loss_that_trains_nothing_is_an_error_in_the_first_step(
    batch: tuple, break_gradient: Any, adapters: Any
) -> None:
    model = build_distillation(spectral_distiller(adapters=adapters))
    model.init_weights()
    break_gradient(model)
    with pytest.raises(ConfigValueError, match=r"'loss_lipschitz' has no gradient .* 'backbone.layer4'"):
        model.train()(*batch, mode='loss')


@pytest.mark.parametrize('break_gradient', [_freeze_all, _run_without_graph])
def test_only_the_loss_without_gradient_is_named(batch: tuple, break_gradient: Any) -> None:
    model = build_distillation(ofd_distiller())
    model.init_weights()
    break_gradient(model)
    model.distiller.distill_losses['loss_lipschitz'].loss_weight = 0
    with pytest.raises(ConfigValueError, match="'loss_ofd' has no gradient"):
        model.train()(*batch, mode='loss')


def test_a_loss_is_checked_when_its_weight_becomes_positive(batch: tuple) -> None:
    model = build_distillation()
    model.init_weights()
    _freeze_all(model)
    loss = model.distiller.distill_losses['loss_lipschitz']
    loss.loss_weight = 0
    model.train()(*batch, mode='loss')
    loss.loss_weight = 1
    with pytest.raises(ConfigValueError, match="'loss_lipschitz' has no gradient"):
        model(*batch, mode='loss')


def _zero_gradient(model: nn.Module) -> None:
    for module in model.student.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)


@pytest.mark.parametrize('prepare', [_zero_gradient, _freeze_up_to_last_tap])
def test_a_partly_frozen_student_and_zero_gradients_are_valid(batch: tuple, prepare: Any) -> None:
    model = build_distillation()
    model.init_weights()
    prepare(model)
    model.train()(*batch, mode='loss')


def test_frozen_stages_below_the_taps_are_valid(batch: tuple) -> None:
    student = classifier()
    student['backbone']['frozen_stages'] = 3
    model = build_distillation(architecture=student)
    model.init_weights()
    model.train()(*batch, mode='loss')


def test_losses_in_evaluation_need_no_graph(batch: tuple) -> None:
    model = build_distillation()
    model.init_weights()
    with torch.no_grad():
        assert model.eval()(*batch, mode='loss')['distill.loss_lipschitz'] > 0


def test_reaching_follows_the_graph() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    inner = first(torch.ones(1, 2))
    assert reaches_any(second(inner).sum(), first.parameters())
    assert not reaches_any(second(inner.detach()).sum(), first.parameters())
    assert not reaches_any(torch.zeros(()), first.parameters())
    frozen = copy.deepcopy(first).requires_grad_(False)
    assert not reaches_any(second(frozen(torch.ones(1, 2))).sum(), frozen.parameters())
