"""Batch normalization in the adapters: synchronized as in the student, and usable with one value per channel."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lckd_mm  # noqa: F401  (registers the components)
from lckd_mm.models.distillers.adapter_norms import allow_single_values, follow_sync_bn
from tests.helpers.small_classifiers import (
    build_distillation,
    classifier,
    ofd_distiller,
    spectral_distiller,
    train_step,
)


def _distiller() -> nn.ModuleDict:
    return nn.ModuleDict(
        dict(
            adapters=nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)),
            plain=nn.ModuleDict(dict(line=nn.BatchNorm1d(3))),
        )
    )


@pytest.mark.parametrize('norm_type', ['SyncBN', 'BN'])
def test_adapters_are_synchronized_if_the_student_is(norm_type: str) -> None:
    student = classifier()
    student['backbone']['norm_cfg'] = dict(type=norm_type)
    model = build_distillation(ofd_distiller(adapters=True), architecture=student)
    norms = [module for module in model.distiller.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 4
    assert {isinstance(module, nn.SyncBatchNorm) for module in norms} == {norm_type == 'SyncBN'}
    reference = build_distillation(ofd_distiller(adapters=True), architecture=classifier())
    torch.testing.assert_close(model.distiller.state_dict(), reference.distiller.state_dict(), rtol=0, atol=0)


def test_the_implementation_of_the_student_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class SyncBatchNorm(nn.Module):  # as that of mmcv, which cannot be built in a single process
        pass

    used = []
    path = 'lckd_mm.models.distillers.adapter_norms.convert_sync_batchnorm'
    monkeypatch.setattr(path, lambda module, implementation: used.append(implementation) or module)
    follow_sync_bn(_distiller(), nn.Sequential(SyncBatchNorm()))
    assert used == ['mmcv', 'mmcv']


@pytest.mark.parametrize('shape', [(1, 3, 1, 1), (1, 3, 1)])
def test_a_single_value_is_normalized_by_the_running_statistics(shape: tuple[int, ...]) -> None:
    distiller = _distiller()
    norm = distiller['adapters'][1] if len(shape) == 4 else distiller['plain']['line']
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0, 16.0]))
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        norm(torch.randn(shape))
    allow_single_values(distiller)
    allow_single_values(distiller)
    before = copy.deepcopy(norm.state_dict())
    feature = torch.randn(shape, requires_grad=True)
    output = norm(feature)
    expected = (feature.detach().flatten() - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([2.0, 3.0, 4.0])
    torch.testing.assert_close(output.flatten(), expected, rtol=1e-4, atol=1e-5)
    assert output.requires_grad
    assert norm.training, 'the mode is restored'
    torch.testing.assert_close(norm.state_dict(), before, rtol=0, atol=0)
    # Other batches are normalized by their own statistics.
    feature = torch.randn(4, *shape[1:])
    torch.testing.assert_close(norm(feature), F.batch_norm(feature, None, None, training=True))
    assert norm.num_batches_tracked == before['num_batches_tracked'] + 1


def test_the_mode_is_restored_after_an_error() -> None:
    norm = nn.BatchNorm2d(3)
    allow_single_values(nn.Sequential(norm))
    with pytest.raises(RuntimeError):
        norm(torch.randn(1, 4, 1, 1))
    assert norm.training


def test_a_last_batch_of_one_small_image_is_trained_on(batch: tuple) -> None:
    student = classifier()
    student['backbone']['norm_eval'] = True
    model = build_distillation(spectral_distiller(adapters=True), architecture=student)
    model.init_weights()
    images, samples = batch
    losses = train_step(model, (images[:1, :, :32, :32], samples[:1]))
    assert losses['distill.loss_lipschitz'].isfinite()
    assert all(parameter.grad is not None for parameter in model.distiller.adapters.parameters())
