"""The probe runs models of any input; where it cannot, the training starts and its first step is checked instead."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmrazor.models.task_modules import RecorderManager
from torch import Tensor, nn

from lckd_mm.analysis.tap_finder import find_taps
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.distillers.compatibility import loss_error
from lckd_mm.models.distillers.probe import evaluating, protect_from_inplace
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import (
    TAPS,
    build_distillation,
    classifier,
    ofd_distiller,
    spectral_distiller,
    train_step,
)


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """The warnings of the probe."""
    logger, handler = MMLogger.get_current_instance(), _Messages()
    logger.addHandler(handler)
    yield handler.messages
    logger.removeHandler(handler)


def _about_probe(messages: list[str]) -> list[str]:
    return [message for message in messages if 'first training step' in message]


def _segmentor(kind: str, in_channels: int, width: int = 4, auxiliary: bool = False) -> dict:
    backbone = dict(type='ResNet', depth=18, in_channels=in_channels, base_channels=width, stem_channels=width)
    head = dict(type='FCNHead', in_channels=8 * width, channels=4, num_classes=3, num_convs=1)
    config = dict(type=kind, _scope_='mmseg', backbone=backbone, decode_head=dict(head, in_index=3))
    if kind == 'CascadeEncoderDecoder':
        second = dict(type='OCRHead', in_channels=8 * width, channels=4, ocr_channels=4, num_classes=3, in_index=3)
        config.update(num_stages=2, decode_head=[dict(head, in_index=3), second])
    if auxiliary:
        config['auxiliary_head'] = dict(head, in_index=2, in_channels=4 * width)
    return config


def _segmentation_batch(in_channels: int) -> tuple[Tensor, list]:
    from mmseg.structures import SegDataSample

    samples = [SegDataSample(metainfo=dict(img_shape=(64, 96))) for _ in range(2)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, 64, 96, dtype=torch.int64))
    return torch.randn(2, in_channels, 64, 96), samples


@pytest.mark.parametrize('kind', ['EncoderDecoder', 'CascadeEncoderDecoder'])
@pytest.mark.parametrize('in_channels', [1, 4])
def test_segmentor_of_other_than_three_channels_is_probed(kind: str, in_channels: int, warnings: list[str]) -> None:
    networks = dict(architecture=_segmentor(kind, in_channels), teacher=_segmentor(kind, in_channels, width=8))
    model = build_distillation(ofd_distiller(), **networks)
    assert len(model.distiller.adapters) == 4
    assert not _about_probe(warnings)
    model.init_weights()
    losses = train_step(model, _segmentation_batch(in_channels))
    assert losses['distill.loss_lipschitz'].isfinite()
    assert losses['distill.loss_ofd'].isfinite()


class TwoInputs(BaseModel):
    """Adds the features of a color image and of a depth image, given as a dict or as a list."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.color, self.depth = nn.Conv2d(3, width, 3, 2, 1), nn.Conv2d(1, width, 3, 2, 1)
        self.merge = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width))

    def forward(self, inputs: Any, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        color, depth = inputs if isinstance(inputs, list) else (inputs['color'], inputs['depth'])
        features = self.merge(self.color(color) + self.depth(depth))
        return dict(loss_mean=features.mean()) if mode == 'loss' else features


class NeverOnBlack(BaseModel):
    """Does not run on the image of a probe."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.color = nn.Conv2d(3, width, 3, 2, 1)
        self.merge = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        if not inputs.any():
            raise RuntimeError('the image is black')
        features = self.merge(self.color(inputs))
        return dict(loss_mean=features.mean()) if mode == 'loss' else features


TOY_TAPS = ['color', 'merge']
PAIR = dict(color=torch.randn(2, 3, 32, 48), depth=torch.randn(2, 1, 32, 48))
IMAGE = torch.randn(2, 3, 32, 48)


def _build(networks: tuple, distiller: dict | None = None, **changes: Any) -> nn.Module:
    distiller = distiller or spectral_distiller(taps=TOY_TAPS, **changes)
    student, teacher = networks
    return build_distillation(distiller, architecture=student, teacher=teacher)


def _step(model: nn.Module, inputs: Any) -> dict[str, Tensor]:
    model.init_weights()
    return train_step(model, (inputs, None))


@pytest.mark.parametrize('kind', [dict, list])
def test_shapes_of_several_inputs_are_probed(kind: type, warnings: list[str]) -> None:
    shapes = dict(color=(3, 32, 48), depth=(1, 32, 48))
    probe_inputs = shapes if kind is dict else list(shapes.values())
    model = _build((TwoInputs(4), TwoInputs(6)), probe_inputs=probe_inputs)
    assert len(model.distiller.adapters) == 2
    assert not _about_probe(warnings)
    losses = _step(model, PAIR if kind is dict else list(PAIR.values()))
    assert losses['distill.loss_lipschitz'].isfinite()


@pytest.mark.parametrize(('network', 'inputs'), [(TwoInputs, PAIR), (NeverOnBlack, IMAGE)])
def test_model_that_the_probe_cannot_run_is_trained(network: type, inputs: Any, warnings: list[str]) -> None:
    model = _build((network(), network()))
    messages = _about_probe(warnings)
    assert len(messages) == 2
    assert 'the student does not run on a probe image of 3 x 128 x 128 (' in messages[0]
    assert 'probe_inputs=' in messages[0]
    assert _step(model, inputs)['distill.loss_lipschitz'].isfinite()
    assert train_step(model, (inputs, None))['distill.loss_lipschitz'].isfinite()


def test_record_of_an_unprobed_model_is_not_overwritten() -> None:
    networks = NeverOnBlack(), NeverOnBlack()
    student, teacher = networks
    distiller = spectral_distiller(taps=['color', dict(type='ModuleOutputs', source='merge.1')])
    model = build_distillation(distiller, architecture=student, teacher=teacher, module_inplace=True)
    model.init_weights()
    model.eval()
    with model.distiller.student_recorders, torch.no_grad():
        student(IMAGE)
    recorded = model.distiller.network_taps[True].read('tap1')
    assert recorded.min() < 0


def test_unprobed_model_whose_taps_need_adapters_is_an_error_in_the_first_step() -> None:
    model = _build((NeverOnBlack(4), NeverOnBlack(6)))
    with pytest.raises(
        ValueError, match=r"'color' has 4 channels and the teacher's 6, .*probe_inputs=.* adapters=False"
    ):
        _step(model, IMAGE)
    model = _build((NeverOnBlack(4), NeverOnBlack(6)), adapters=False)
    assert _step(model, IMAGE)['distill.loss_lipschitz'].isfinite()


@pytest.mark.parametrize('adapters', [True, [dict(type='PointwiseAdapter'), None]])
def test_adapters_that_cannot_be_built_are_rejected_before_training(adapters: Any) -> None:
    with pytest.raises(ValueError, match=r'cannot be built .* probe_inputs=\(4, 224, 224\) .* adapters=False'):
        _build((NeverOnBlack(), NeverOnBlack()), adapters=adapters)


def test_connector_of_unknown_channels_is_rejected_before_training() -> None:
    distiller = dict(type='LipschitzDistiller', taps=TOY_TAPS, losses=['mgd'])
    with pytest.raises(ValueError, match=r"connector 'loss_mgd_generators' of the loss 'loss_mgd' .* probe_inputs="):
        _build((NeverOnBlack(), NeverOnBlack()), distiller)


def test_ofd_of_an_unprobed_model_has_its_margins() -> None:
    distiller = dict(type='LipschitzDistiller', taps=['merge'], losses=['ofd'])
    losses = _step(_build((NeverOnBlack(), NeverOnBlack()), distiller), IMAGE)
    assert losses['distill.loss_ofd'] > 0


def test_unprobed_maps_that_do_not_fit_are_reported_with_their_names_in_the_first_step() -> None:
    losses = [dict(type='fitnet', student_taps=['color'], teacher_taps=['merge'])]
    model = _build((NeverOnBlack(), NeverOnBlack()), dict(type='LipschitzDistiller', losses=losses))
    with pytest.raises(ValueError, match="loss 'loss_fitnet' cannot be computed from its taps"):
        _step(model, IMAGE)


def test_an_error_without_text_leaves_no_gap_in_the_sentence() -> None:
    error = loss_error('loss_pkd', dict(student=[torch.zeros(1, 4, 8, 8)]), AssertionError())
    assert str(error).startswith(
        "loss 'loss_pkd' cannot be computed from its taps, {'student': [(1, 4, 8, 8)]}; tap both"
    )


def test_an_error_that_names_its_fix_gets_no_other() -> None:
    error = loss_error('loss_pkd', dict(student=[torch.zeros(1, 2)]), ConfigValueError('it is wrong: set it to None.'))
    assert str(error).endswith('it is wrong: set it to None.')


@pytest.mark.parametrize('name', ['kd', 'dkd', 'dist'])
def test_other_classes_are_refused_before_training(name: str) -> None:
    distiller = dict(type='LipschitzDistiller', losses=[name])
    teacher = classifier(num_classes=5)
    with pytest.raises(
        ConfigValueError, match=rf"loss 'loss_{name}' cannot be computed from its taps, .*\(\d+, 3\).*\(\d+, 5\)"
    ):
        build_distillation(distiller, teacher=teacher)


def test_tap_of_an_auxiliary_head_is_checked_in_the_first_step(warnings: list[str]) -> None:
    networks = dict(architecture=_segmentor('EncoderDecoder', 3, auxiliary=True))
    networks['teacher'] = _segmentor('EncoderDecoder', 3, auxiliary=True)
    taps = ['backbone.layer3', 'auxiliary_head.convs']
    model = build_distillation(spectral_distiller(taps=taps), **networks)
    assert len(_about_probe(warnings)) == 2
    assert "taps ['auxiliary_head.convs'] without annotations" in _about_probe(warnings)[0]
    model.init_weights()
    assert train_step(model, _segmentation_batch(3))['distill.loss_lipschitz'].isfinite()


def test_layer_that_the_backbone_never_calls_is_rejected_before_training() -> None:
    student = classifier()
    student['backbone']['out_indices'] = (3,)
    distiller = spectral_distiller(taps=[*TAPS[:3], 'backbone.spare'])
    networks = [build_model(student) for _ in range(2)]
    for network in networks:
        network.backbone.spare = nn.Conv2d(4, 4, 1)
    with pytest.raises(ValueError, match=r"student's tap 'backbone.spare' recorded nothing"):
        build_distillation(distiller, architecture=networks[0], teacher=networks[1])


def test_layer_that_is_not_called_in_training_either_is_an_error_in_the_first_step() -> None:
    networks = NeverOnBlack(), NeverOnBlack()
    for network in networks:
        network.spare = nn.Conv2d(4, 4, 1)
    model = _build(networks, spectral_distiller(taps=['color', 'spare']))
    with pytest.raises(RuntimeError, match="student's tap 'spare' recorded nothing in the first training step"):
        _step(model, IMAGE)


class AnySize(NeverOnBlack):
    """Runs on every image."""

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        return super().forward(inputs + 1, data_samples, mode)


class OnlyOfSize(NeverOnBlack):
    """Runs on images of one size only."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        if inputs.shape[2:] != (self.size, self.size):
            raise ValueError(f'the size must be {self.size}')
        return super().forward(inputs + 1, data_samples, mode)


def test_both_networks_are_probed_with_images_of_one_size(warnings: list[str]) -> None:
    distiller = dict(type='LipschitzDistiller', taps=['merge'], losses=['fitnet'])
    for networks in ((AnySize(), OnlyOfSize(224)), (OnlyOfSize(224), AnySize())):
        model = _build(networks, distiller)
        assert model.distiller._probe.image_size == (224, 224)
    assert not _about_probe(warnings)


def test_networks_without_a_common_probe_size_are_checked_in_the_first_step(warnings: list[str]) -> None:
    model = _build((OnlyOfSize(128), OnlyOfSize(224)))
    assert len(_about_probe(warnings)) == 1
    assert 'run on no common size' in warnings[0]
    assert len(model.distiller.adapters) == 0


class _CachedInEvaluation(nn.Linear):
    """Computes in evaluation mode from what its `train` method keeps, as the attention of LeViT."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.requires_grad_(False)
        if mode and 'cache' in self.__dict__:
            del self.cache
        else:
            self.cache = 2 * self.weight
        return self

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, 2 * self.weight if self.training else self.cache)


def test_evaluation_keeps_what_a_module_needs_for_it_and_restores_every_mode() -> None:
    model = nn.Sequential(
        _CachedInEvaluation(2, 2, False), nn.Sequential(nn.Dropout()), _CachedInEvaluation(2, 2, False)
    )
    model[1].training = False
    model[2].train(False)
    model[2].weight.requires_grad = True
    modes = [module.training for module in model.modules()]
    for failing in (False, True):
        with contextlib.suppress(ZeroDivisionError), evaluating(model):
            assert not any(module.training for module in model.modules())
            assert model(torch.ones(1, 2)).shape == (1, 2)
            assert 1 / (not failing)
        assert [module.training for module in model.modules()] == modes
        assert [parameter.requires_grad for parameter in model.parameters()] == [True, True]
        assert [hasattr(module, 'cache') for module in (model[0], model[2])] == [False, True]


@pytest.mark.parametrize(
    ('config', 'num_taps'),
    [('levit/levit-128s_8xb256_in1k.py', 3), ('efficientformer/efficientformer-l1_8xb128_in1k.py', 4)],
)
def test_stock_model_with_a_cache_for_evaluation_is_probed(config: str, num_taps: int) -> None:
    model = build_model(dict(cfg_path=f'mmpretrain::{config}')).train()
    assert len(find_taps(model)) == num_taps
    assert all(module.training for module in model.modules())
    assert not any(hasattr(module, 'ab') for module in model.modules())


def test_activation_that_would_overwrite_one_of_several_outputs_is_not_in_place() -> None:
    class Split(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1, x - 1

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.split, self.relu, self.other = Split(), nn.ReLU(inplace=True), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.split(x)
            return self.relu(second) + self.other(first * 2)

    network, manager = Network(), RecorderManager(dict(split=dict(type='PreActivation', source='split')))
    manager.initialize(network)
    with manager, protect_from_inplace(network, manager):
        network(torch.zeros(1, 2, 2, 2))
    assert not network.relu.inplace
    assert network.other.inplace
