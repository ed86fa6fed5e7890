"""Algorithms and heads of MMRazor that current versions of torch and mmpretrain break."""

from unittest.mock import Mock

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
import torch
from mmengine.model import BaseModel
from mmrazor.engine.hooks import StopDistillHook
from mmrazor.models.algorithms import BaseAlgorithm
from mmrazor.models.task_modules import ModuleOutputsRecorder
from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.compat import PATCHES


class _Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Sequential(nn.ReLU(inplace=True)))

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Tensor:
        return self.block(inputs)


def test_recorded_outputs_are_not_overwritten_by_in_place_activations() -> None:
    model = _Model()
    BaseAlgorithm(model)
    recorder = ModuleOutputsRecorder('block.1')
    recorder.initialize(model)
    with recorder:
        model(torch.randn(2, 3, 4, 4))
    assert recorder.get_record_data().min() < 0
    assert not model.block[2][0].inplace


def test_the_published_search_finds_no_in_place_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    # The patch can be removed when this fails.
    model = _Model()
    monkeypatch.setattr(BaseAlgorithm, 'set_module_inplace_false', PATCHES['mmrazor_inplace'].originals[0])
    BaseAlgorithm(model)
    assert model.block[2][0].inplace


def test_activations_stay_in_place_on_request() -> None:
    model = _Model()
    BaseAlgorithm(model, module_inplace=True)
    assert model.block[2][0].inplace


@pytest.mark.parametrize('kind', ['DAFLGenerator', 'ZSKTGenerator'])
def test_a_generator_without_a_wrapper_is_its_own_module(kind: str) -> None:
    generator = MODELS.build(dict(type=f'mmrazor.{kind}', img_size=32, latent_dim=8, hidden_channels=4))
    assert generator.module is generator
    assert not any('module' in name.split('.') for name, _ in generator.named_modules())


@pytest.mark.parametrize('with_patch_tokens', [False, True])
def test_the_deit_head_takes_the_tokens_of_mmcls_and_of_mmpretrain(with_patch_tokens: bool) -> None:
    head = MODELS.build(
        dict(type='mmrazor.DeiTClsHead', num_classes=3, in_channels=4, loss=dict(type='mmcls.CrossEntropyLoss'))
    )
    tokens = [torch.randn(2, 4), torch.randn(2, 4)]
    records: list[Tensor] = []
    head.layers.head_dist.register_forward_hook(lambda _, inputs, output: records.append(inputs[0]))
    scores = head(([torch.randn(2, 4, 1, 1), *tokens] if with_patch_tokens else tokens,))
    torch.testing.assert_close(scores, head.layers.head(tokens[0]))
    assert records[0] is tokens[1]


def test_stop_distill_hook_accepts_a_mock_of_a_runner() -> None:
    runner = Mock()
    runner.epoch = 5
    StopDistillHook(stop_epoch=5).before_train_epoch(runner)
    assert runner.model.distillation_stopped is True
