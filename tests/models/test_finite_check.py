"""The finiteness of the losses is found without waiting for a device, and what is not finite is named."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from lckd_mm.analysis.operations import SYNCHRONIZATIONS, count_operations
from lckd_mm.models.distillers.finite_check import FiniteCheck
from lckd_mm.spectral.planning import Plan, force_plan
from tests.helpers.small_classifiers import build_distillation, ofd_distiller, spectral_distiller, train_step

ONE, NAN = torch.ones(()), torch.tensor(torch.nan)


class _SlowDevice:
    """An event that ends when the test says so."""

    def __init__(self) -> None:
        self.is_done = False

    def query(self) -> bool:
        return self.is_done


def _deferred(model: nn.Module) -> nn.Module:
    model.init_weights()
    model.distiller._finite_check = FiniteCheck(is_deferred=True)
    return model


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
def test_each_loss_is_read_at_once_on_a_cpu(value: float) -> None:
    check = FiniteCheck()
    assert [check.is_finite([ONE, loss]) for loss in (ONE, torch.tensor(value), ONE)] == [True, False, True]


def test_a_loss_of_several_values_is_checked_as_a_whole() -> None:
    assert FiniteCheck().is_finite([torch.tensor([1.0, torch.nan, 2.0])]) is False


def test_without_losses_all_are_finite() -> None:
    assert FiniteCheck(is_deferred=True).is_finite([])


def test_the_first_step_is_read_at_once_on_a_gpu_too() -> None:
    assert FiniteCheck(is_deferred=True).is_finite([NAN]) is False
    assert FiniteCheck(is_deferred=True).is_finite([ONE]) is True


def test_a_deferred_loss_is_found_in_the_next_step() -> None:
    check = FiniteCheck(is_deferred=True)
    assert [check.is_finite([loss]) for loss in (ONE, NAN, NAN)] == [True, None, False]


def test_a_single_loss_that_is_not_finite_leaves_the_next_one_finite() -> None:
    check = FiniteCheck(is_deferred=True)
    assert [check.is_finite([loss]) for loss in (ONE, NAN, ONE, ONE)] == [True, None, True, None]


def test_no_loss_is_missed_while_the_device_is_late() -> None:
    check, device = FiniteCheck(is_deferred=True), _SlowDevice()
    check.is_finite([ONE])
    check.is_finite([ONE])
    assert check._copy is not None
    check._copy = (check._copy[0], device)
    # A step that is not finite while the copy of an earlier one is under way.
    assert [check.is_finite([loss]) for loss in (NAN, ONE)] == [None, None]
    device.is_done = True
    # The completed copy is finite; the next one has the steps since then.
    assert [check.is_finite([loss]) for loss in (ONE, NAN)] == [None, False]


@pytest.mark.parametrize('distiller', [spectral_distiller, ofd_distiller])
def test_a_step_does_not_wait_for_a_gpu(distiller: Any, batch: tuple) -> None:
    model = _deferred(build_distillation(distiller()))

    def step() -> None:
        sum(model(*batch, mode='loss').values()).backward()

    with force_plan(Plan(len(batch[0]), (False, False, True), joint=True)):
        for _ in range(2):
            step()
        counts = [count_operations(step) for _ in range(3)]
    assert not [name for count in counts for name in SYNCHRONIZATIONS & set(count)]


def test_a_teacher_that_is_not_finite_from_the_start_is_named_in_the_first_step(batch: tuple) -> None:
    model = _deferred(build_distillation())
    with torch.no_grad():
        model.teacher.backbone.layer3[0].conv1.weight[0, 0, 0, 0] = torch.inf
    with pytest.raises(RuntimeError, match=r"teacher's tap 'backbone.layer3' is not finite"):
        train_step(model, batch)


@pytest.mark.parametrize('role', ['teacher', 'student'])
def test_a_network_that_is_not_finite_later_is_named_one_step_later(role: str, batch: tuple) -> None:
    model = _deferred(build_distillation())
    for _ in range(2):
        train_step(model, batch)
    with torch.no_grad():
        getattr(model, role).backbone.layer3[0].conv1.weight.fill_(torch.nan)
    train_step(model, batch)
    if role == 'teacher':
        with pytest.raises(RuntimeError, match=r"teacher's tap 'backbone.layer3' is not finite"):
            train_step(model, batch)
        return
    for _ in range(3):
        train_step(model, batch)
        assert "the student's tap 'backbone.layer3' is not finite" in model.distiller.nonfinite_tap


def test_a_copy_of_the_model_checks_anew() -> None:
    check = FiniteCheck(is_deferred=True)
    check.is_finite([ONE])
    check.is_finite([ONE])
    assert check._copy is not None
    check._copy = (check._copy[0], object())
    for copied in (copy.deepcopy(check), pickle.loads(pickle.dumps(check))):
        assert copied.is_finite([NAN]) is False
