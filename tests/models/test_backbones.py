from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.models import CIFARResNet, EfficientNetLite, MobileNetV1, PyramidNet


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _millions_of_parameters(backbone: nn.Module, num_classes: int) -> float:
    """Count the parameters together with a linear classifier on the pooled last map."""
    head = nn.Linear(backbone.out_channels, num_classes)
    return sum(p.numel() for module in (backbone, head) for p in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ('build', 'num_classes', 'millions'),
    [
        (lambda: PyramidNet(200, 240), 100, 26.84),
        (lambda: PyramidNet(110, 84, bottleneck=False), 100, 3.91),
        (lambda: CIFARResNet(56), 100, 0.86),
        (lambda: MobileNetV1(), 1000, 4.23),
        # Of the package's files, and for the last two of its model: 4.7, 5.4, 6.1, 8.2 and 13.0 are published.
        (lambda: EfficientNetLite('lite0'), 1000, 4.652),
        (lambda: EfficientNetLite('lite1'), 1000, 5.417),
        (lambda: EfficientNetLite('lite2'), 1000, 6.092),
        (lambda: EfficientNetLite('lite3'), 1000, 8.197),
        (lambda: EfficientNetLite('lite4'), 1000, 13.007),
    ],
    ids=[
        *('PyramidNet-200', 'PyramidNet-110', 'ResNet-56', 'MobileNet v1'),
        *(f'EfficientNet-Lite{variant}' for variant in range(5)),
    ],
)
def test_parameter_counts_are_the_published_ones(
    build: Callable[[], nn.Module], num_classes: int, millions: float
) -> None:
    assert _millions_of_parameters(build(), num_classes) == pytest.approx(millions, abs=0.005)


SMALL = {
    'pyramid': (lambda **kwargs: PyramidNet(20, 12, **kwargs), 32, [32, 16, 8]),
    'basic pyramid': (lambda **kwargs: PyramidNet(14, 12, bottleneck=False, **kwargs), 32, [32, 16, 8]),
    'cifar resnet': (lambda **kwargs: CIFARResNet(14, **kwargs), 32, [32, 16, 8]),
    'mobilenet': (lambda **kwargs: MobileNetV1(0.25, **kwargs), 64, [32, 16, 8, 4, 2]),
    'efficientnet lite': (lambda **kwargs: EfficientNetLite(**kwargs), 64, [32, 16, 8, 4, 2, 2]),
}


@pytest.mark.parametrize('name', SMALL)
def test_each_stage_has_its_stride_and_can_be_returned(name: str) -> None:
    build, size, sizes = SMALL[name]
    backbone = build(out_indices=tuple(range(len(sizes)))).eval()
    maps = backbone(torch.randn(2, 3, size, size))
    assert [m.shape[2] for m in maps] == sizes
    assert maps[-1].shape[1] == backbone.out_channels
    (last,) = build(out_indices=(-1,)).eval()(torch.randn(2, 3, size, size))
    assert last.shape == maps[-1].shape
    assert (last >= 0).all(), 'the network ends in a ReLU'


@pytest.mark.parametrize('name', SMALL)
def test_frozen_stages_have_no_gradients_and_stay_in_evaluation_mode(name: str) -> None:
    build, size, _ = SMALL[name]
    backbone = build(frozen_stages=1)
    backbone.train()
    frozen = [*backbone.stem, backbone.stages[0]]
    for key, parameter in backbone.named_parameters():
        assert parameter.requires_grad is (key.split('.')[0] not in frozen)
    assert not any(getattr(backbone, part).training for part in frozen)
    assert getattr(backbone, backbone.stages[1]).training
    backbone(torch.randn(2, 3, size, size))[0].sum().backward()


@pytest.mark.parametrize('name', SMALL)
def test_norm_eval_freezes_the_running_statistics(name: str) -> None:
    build, size, _ = SMALL[name]
    for norm_eval in (False, True):
        backbone = build(norm_eval=norm_eval)
        backbone.train()
        norm = next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
        before = norm.running_mean.clone()
        backbone(torch.randn(2, 3, size, size))
        assert torch.equal(norm.running_mean, before) is norm_eval


@pytest.mark.parametrize('name', SMALL)
def test_the_initialization_is_the_published_one(name: str) -> None:
    backbone = SMALL[name][0]()
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()
        elif isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            fan_out = module.out_channels * module.weight[0, 0].numel()  # torch counts it without groups.
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def test_pyramid_net_adds_alpha_channels_and_pads_its_shortcuts_with_zeros() -> None:
    backbone = PyramidNet(14, 12, bottleneck=False)
    widths = [block.out_channels for stage in backbone.stages for block in getattr(backbone, stage)]
    assert widths == [18, 20, 22, 24, 26, 28]
    block = backbone.layer2[0].eval()
    for parameter in block.bn3.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 20, 7, 7)
    out = block(x)
    torch.testing.assert_close(out[:, :20], torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True))
    assert out[:, 20:].eq(0).all()


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: PyramidNet(111, 84), r'depth=111 is not 9 n \+ 2, as required with bottlenecks'),
        (lambda: PyramidNet(111, 84, bottleneck=False), r'depth=111 is not 6 n \+ 2, as required without bottlenecks'),
        (lambda: CIFARResNet(52), r'depth=52 is not 6 n \+ 2'),
        (lambda: CIFARResNet(56, out_indices=(3,)), 'contains stage 3, but the stages are 0 to 2'),
        (lambda: MobileNetV1(frozen_stages=6), 'frozen_stages=6'),
    ],
)
def test_an_invalid_depth_or_stage_is_rejected(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        build()


@pytest.mark.parametrize(
    'config', [dict(type='mmrazor.PyramidNet', depth=20, alpha=12), dict(type='mmrazor.CIFARResNet', depth=14)]
)
def test_a_classifier_config_can_name_the_backbone(config: dict[str, Any]) -> None:
    backbone = MODELS.build(config)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            _scope_='mmpretrain',
            backbone=config,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=backbone.out_channels),
        )
    )
    assert model.extract_feat(torch.randn(2, 3, 32, 32))[0].shape == (2, backbone.out_channels)


def test_mobilenet_without_its_last_stage_computes_the_same_maps() -> None:
    whole, part = MobileNetV1(out_indices=(2, 3, 4)).eval(), MobileNetV1(num_stages=4, out_indices=(2, 3)).eval()
    part.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith('layer5')})
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(part(image), whole(image)[:2])
    with pytest.raises(ConfigValueError, match='num_stages=6'):
        MobileNetV1(num_stages=6)
