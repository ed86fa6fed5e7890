"""SyncBN in distributed training on a machine without a GPU."""

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmcv.ops import SyncBatchNorm as MMSyncBatchNorm
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

import lckd_mm  # noqa: F401  (applies the patches)
from tests.helpers.small_classifiers import build_distillation, classification_batch, classifier, spectral_distiller

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='on a GPU, SyncBN works')


@pytest.fixture
def wrap(monkeypatch: pytest.MonkeyPatch) -> Callable[..., nn.Module]:
    """Wrap a model as the Runner of a distributed training does, with a wrapper that needs no process group."""
    monkeypatch.setattr('mmengine.runner.runner.MMDistributedDataParallel', lambda module, **_: module)
    monkeypatch.setenv('LOCAL_RANK', '0')

    def call(model: nn.Module, **config: Any) -> nn.Module:
        runner = SimpleNamespace(distributed=True, cfg=Config(config), logger=logging.getLogger(__name__))
        return Runner.wrap_model(runner, None, model)

    return call


def synchronized(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, (nn.SyncBatchNorm, MMSyncBatchNorm))]


def test_sync_bn_of_a_model_is_replaced_with_its_weights(wrap: Callable) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4), nn.Sequential(nn.SyncBatchNorm(4)))
    nn.init.normal_(model[1].weight)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = wrap(model)
    assert not synchronized(wrapped)
    assert wrapped.state_dict().keys() == expected.keys()
    assert torch.equal(wrapped[1].weight, expected['1.weight'])
    assert wrapped.train()(torch.randn(2, 3, 4, 4)).isfinite().all()


@pytest.mark.parametrize('implementation', ['torch', 'mmcv'])
def test_option_that_synchronizes_bn_is_ignored(wrap: Callable, implementation: str) -> None:
    assert not synchronized(wrap(nn.Sequential(nn.BatchNorm2d(4)), sync_bn=implementation))


def test_sync_bn_of_student_teacher_and_adapters_is_replaced_and_still_recorded(wrap: Callable) -> None:
    student, teacher = classifier(), classifier(depth=50)
    for config in (student, teacher):
        config['backbone']['norm_cfg'] = dict(type='SyncBN')
    # The BNs themselves are tapped: their replacements have to be recorded.
    distiller = spectral_distiller(taps=[f'backbone.layer{i}.1.bn2' for i in (1, 2, 3, 4)])
    model = build_distillation(distiller, architecture=student, teacher=teacher)
    model.distiller.extra = nn.SyncBatchNorm(2)
    # A frozen teacher is no submodule; in evaluation mode its SyncBN needs no GPU.
    assert {name.split('.')[0] for name in synchronized(model)} == {'architecture', 'distiller'}
    model = wrap(model)
    assert not synchronized(model)
    model.init_weights()
    losses = model.train()(*classification_batch(), mode='loss')
    assert losses['distill.loss_lipschitz'] > 0
