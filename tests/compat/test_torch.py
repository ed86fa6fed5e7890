"""Activation checkpointing keeps the gradients of recorded feature maps."""

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
import torch
from mmengine.runner import turn_on_activation_checkpointing
from torch import nn

from tests.helpers.small_classifiers import TAPS, build_distillation, classification_batch, classifier

LAYERS = [f'architecture.{tap}' for tap in TAPS]


def _lipschitz_gradients(model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the Lipschitz loss and its gradients in the backbone of the student."""
    model.train()
    loss = model(*classification_batch(), mode='loss')['distill.loss_lipschitz']
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.student.backbone.named_parameters()}


def _with_checkpointing(kind: str) -> nn.Module:
    student = classifier()
    if kind == 'with_cp':
        student['backbone']['with_cp'] = True
    model = build_distillation(architecture=student)
    if kind == 'activation_checkpointing':
        turn_on_activation_checkpointing(model, LAYERS)
    model.init_weights()
    return model


@pytest.mark.parametrize('kind', ['with_cp', 'activation_checkpointing'])
def test_checkpointed_activations_change_no_loss_and_no_gradient(kind: str) -> None:
    plain, checkpointed = (_lipschitz_gradients(_with_checkpointing(k)) for k in ('none', kind))
    assert plain[1]['conv1.weight'].abs().sum() > 0
    torch.testing.assert_close(checkpointed, plain, rtol=0, atol=0)


def test_gradients_of_single_losses_can_be_measured_with_checkpointed_activations() -> None:
    model = _with_checkpointing('with_cp').train()
    loss = model(*classification_batch(), mode='loss')['distill.loss_lipschitz']
    gradient = torch.autograd.grad(loss, [model.student.backbone.conv1.weight], retain_graph=True)[0]
    loss.backward()
    torch.testing.assert_close(model.student.backbone.conv1.weight.grad, gradient)
