import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from lckd_mm.models import CIFARResNet, MobileNetV1, PyramidNet


def _millions(backbone: nn.Module, n_classes: int) -> float:
    """Parameters with a linear classifier on the pooled last map."""
    head = nn.Linear(backbone.out_channels, n_classes)
    return sum(p.numel() for module in (backbone, head) for p in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ('backbone', 'n_classes', 'millions'),
    [
        (lambda: PyramidNet(200, 240), 100, 26.84),
        (lambda: PyramidNet(110, 84, bottleneck=False), 100, 3.91),
        (lambda: CIFARResNet(56), 100, 0.86),
        (lambda: MobileNetV1(), 1000, 4.23),
    ],
    ids=['PyramidNet-200', 'PyramidNet-110', 'ResNet-56', 'MobileNet v1'],
)
def test_parameter_counts_are_the_published_ones(backbone: callable, n_classes: int, millions: float) -> None:
    assert _millions(backbone(), n_classes) == pytest.approx(millions, abs=0.005)


SMALL = {
    'pyramid': (lambda **kwargs: PyramidNet(20, 12, **kwargs), 32, [16, 8, 4]),
    'basic pyramid': (lambda **kwargs: PyramidNet(14, 12, bottleneck=False, **kwargs), 32, [16, 8, 4]),
    'cifar resnet': (lambda **kwargs: CIFARResNet(14, **kwargs), 32, [16, 8, 4]),
    'mobilenet': (lambda **kwargs: MobileNetV1(0.25, **kwargs), 64, [16, 8, 4, 2, 1]),
}


@pytest.mark.parametrize('name', SMALL)
def test_every_stage_halves_the_map_and_can_be_asked_for(name: str) -> None:
    build, size, _ = SMALL[name]
    n_stages = len(build().stages)
    backbone = build(out_indices=tuple(range(n_stages))).eval()
    maps = backbone(torch.randn(2, 3, size, size))
    first = size // 2 if name == 'mobilenet' else size
    assert [m.shape[2] for m in maps] == [first // 2**i for i in range(n_stages)]
    assert maps[-1].shape[1] == backbone.out_channels
    (last,) = build(out_indices=(-1,)).eval()(torch.randn(2, 3, size, size))
    assert last.shape == maps[-1].shape
    assert (last >= 0).all(), 'a ReLU ends the network'


@pytest.mark.parametrize('name', SMALL)
def test_frozen_stages_are_neither_trained_nor_in_training_mode(name: str) -> None:
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
def test_norm_eval_keeps_the_running_statistics(name: str) -> None:
    build, size, _ = SMALL[name]
    for norm_eval in (False, True):
        backbone = build(norm_eval=norm_eval)
        backbone.train()
        norm = next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
        before = norm.running_mean.clone()
        backbone(torch.randn(2, 3, size, size))
        assert torch.equal(norm.running_mean, before) is norm_eval


@pytest.mark.parametrize('name', SMALL)
def test_the_initialisation_is_the_published_one(name: str) -> None:
    backbone = SMALL[name][0]()
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()
        elif isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            fan_out = module.out_channels * module.weight[0, 0].numel()  # torch's count, groups or not
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def test_pyramid_widens_by_alpha_and_pads_its_shortcuts_with_zeros() -> None:
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
        (lambda: PyramidNet(111, 84), 'depth=111: a PyramidNet with bottlenecks has 9 n'),
        (lambda: PyramidNet(111, 84, bottleneck=False), 'without bottlenecks has 6 n'),
        (lambda: CIFARResNet(52), r'depth=52: a ResNet for CIFAR has 6 n \+ 2 layers'),
        (lambda: CIFARResNet(56, out_indices=(3,)), 'names stage 3, but there are 3'),
        (lambda: MobileNetV1(frozen_stages=6), 'frozen_stages=6'),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(build: callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('config', [dict(type='PyramidNet', depth=20, alpha=12), dict(type='CIFARResNet', depth=14)])
def test_a_config_names_them_as_the_backbone_of_a_classifier(config: dict) -> None:
    backbone = MODELS.build(config)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            _scope_='mmpretrain',
            backbone=dict(config, type=f'mmrazor.{config["type"]}'),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=backbone.out_channels),
        )
    )
    assert model.extract_feat(torch.randn(2, 3, 32, 32))[0].shape == (2, backbone.out_channels)


def test_mobilenet_without_its_last_stage_is_the_same_up_to_there() -> None:
    torch.manual_seed(0)
    whole, part = MobileNetV1(out_indices=(2, 3, 4)).eval(), MobileNetV1(num_stages=4, out_indices=(2, 3)).eval()
    part.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith('layer5')})
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(part(image), whole(image)[:2])
    with pytest.raises(ValueError, match='num_stages=6'):
        MobileNetV1(num_stages=6)
