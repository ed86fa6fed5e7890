"""The taps that are found in the models of the stock configs, and in small models of every kind."""

from typing import Any

import pytest
import torch
from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lckd_mm.analysis.forward_trace import trace_model
from lckd_mm.analysis.tap_finder import find_taps
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model
from lckd_mm.spectral import Grid
from tests.helpers.small_classifiers import classifier
from tests.helpers.tools import ROOT

LAYERS = [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
STAGES = [f'backbone.stage{i}' for i in (1, 2, 3, 4)]
LEVELS = (4, 8, 16, 32)

# Config, options that make the model small, sources and strides.
STOCK: list[tuple[str, dict[str, Any], list[Any], tuple[int, ...]]] = [
    ('mmpretrain::resnet/resnet18_8xb32_in1k.py', {}, LAYERS, LEVELS),
    ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', {}, LAYERS, (1, 2, 4, 8)),
    ('mmpretrain::resnet/resnetv1d50_8xb32_in1k.py', {'backbone.base_channels': 8}, LAYERS, LEVELS),
    ('mmpretrain::resnext/resnext50-32x4d_8xb32_in1k.py', {'backbone.width_per_group': 1}, LAYERS, LEVELS),
    ('mmpretrain::regnet/regnetx-400mf_8xb128_in1k.py', {}, LAYERS, LEVELS),
    (
        'mmpretrain::convnext/convnext-tiny_32xb128_in1k.py',
        {'backbone.arch': 'atto'},
        [f'backbone.stages.{i}' for i in range(4)],
        LEVELS,
    ),
    (
        'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py',
        {'backbone.arch': dict(embed_dims=24, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], _delete_=True)},
        [dict(source=f'backbone.stages.{i}', data_idx=0) for i in range(4)],
        LEVELS,
    ),
    (
        'mmpretrain::deit/deit-tiny_4xb256_in1k.py',
        {'backbone.arch': dict(embed_dims=24, num_layers=12, num_heads=2, feedforward_channels=48, _delete_=True)},
        [f'backbone.layers.{i}' for i in (2, 5, 8, 11)],
        (16,) * 4,
    ),
    (
        'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
        {},
        ['backbone.layer2', 'backbone.layer3', 'backbone.layer5', 'backbone.conv2'],
        LEVELS,
    ),
    (
        'mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py',
        {},
        [f'backbone.layer{i}' for i in (1, 3, 8, 12)],
        LEVELS,
    ),
    (
        'mmpretrain::efficientnet/efficientnet-b0_8xb32_in1k.py',
        {},
        [f'backbone.layers.{i}' for i in (2, 3, 4, 6)],
        LEVELS,
    ),
    (
        'mmpretrain::densenet/densenet121_4xb256_in1k.py',
        {},
        [*(f'backbone.transitions.{i}.norm' for i in range(3)), 'backbone.transitions.3.0'],
        LEVELS,
    ),
    (
        'mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',
        {},
        [f'backbone.layers.{i}' for i in range(4)],
        (8, 16, 32, 32),
    ),
    (
        'mmpretrain::vgg/vgg11_8xb32_in1k.py',
        {'backbone.num_classes': -1},
        [f'backbone.features.{i}' for i in (2, 5, 8, 11)],
        (2, 4, 8, 16),
    ),
    ('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', {}, LAYERS[1:], LEVELS[1:]),
    ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', {}, STAGES, LEVELS),
    ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', {}, STAGES, LEVELS),
    ('mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py', {}, [f'backbone.conv_res_block{i}' for i in (2, 3, 4, 5)], LEVELS),
    ('mmdet::detr/detr_r18_8xb2-500e_coco.py', {}, LAYERS[1:], LEVELS[1:]),
    ('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', {'backbone.depth': 18}, LAYERS[1:], LEVELS[1:]),
    (
        'mmdet::ssd/ssd300_coco.py',
        {},
        [f'backbone.features.{i}' for i in (7, 14, 21, 33)],
        (2, 4, 8, 16),
    ),
    ('mmdet::pvt/retinanet_pvt-t_fpn_1x_coco.py', {}, [f'backbone.layers.{i}.1.2' for i in range(4)], LEVELS),
    (
        'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
        {'backbone.depths': [1, 1, 2, 1]},
        [dict(source=f'backbone.stages.{i}', data_idx=2) for i in range(3)]
        + [dict(source='backbone.stages.3', data_idx=0)],
        LEVELS,
    ),
    ('mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py', {}, LAYERS, (4, 8, 8, 8)),
    ('mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py', {'backbone.strides': (1, 2, 2, 1)}, LAYERS, (4, 8, 16, 16)),
    (
        'mmseg::mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024.py',
        {},
        [f'backbone.layer{i}' for i in (2, 4, 6, 7)],
        (4, 8, 8, 8),
    ),
    (
        'mmseg::hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024.py',
        {},
        [dict(source='backbone.stage4', data_idx=i) for i in range(4)],
        LEVELS,
    ),
    (
        'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        {},
        [f'backbone.layers.{i}.1.1' for i in range(4)],
        LEVELS,
    ),
    (
        'mmseg::unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py',
        {'backbone.base_channels': 8},
        [f'backbone.encoder.{i}' for i in (1, 2, 3, 4)],
        (2, 4, 8, 16),
    ),
    (
        'mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024.py',
        {},
        ['backbone.ffm', 'backbone.arms.1', 'backbone.backbone.stages.4', 'backbone.arms.0'],
        (8, 16, 32, 32),
    ),
    (
        f'{ROOT}/configs/bccd/faster_rcnn_lite0_bccd.py',
        {},
        [f'backbone.layer{i}' for i in (2, 3, 4, 5)],
        LEVELS,
    ),
]  # fmt: skip


@pytest.mark.parametrize(('config', 'options', 'sources', 'strides'), STOCK, ids=[case[0] for case in STOCK])
def test_taps_of_a_stock_model(config: str, options: dict[str, Any], sources: list[Any], strides: tuple) -> None:
    taps = find_taps(build_model(dict(cfg_path=config, cfg_options=options)), trained=True)
    assert [tap.config for tap in taps] == sources
    assert tuple(tap.stride for tap in taps) == strides
    for tap in taps:
        assert f'stride {tap.stride}' in tap.reason
        num_positions = tap.shape[2] * tap.shape[3] if len(tap.shape) == 4 else tap.shape[1]
        assert tap.grid.num_positions == num_positions


PUBLISHED = ['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1']


@pytest.mark.parametrize(
    ('config', 'options', 'sources'),
    [
        ('cifar100/wrn28_2_cifar100', {'backbone.depth': 10}, [*PUBLISHED, 'backbone.bn1']),
        ('cifar100/resnet56_cifar100', {'backbone.depth': 8}, LAYERS[:3]),
        ('cifar100/pyramidnet110_a84_cifar100', {'backbone.depth': 8}, [*PUBLISHED, 'backbone.bn_final']),
        ('imagenet/mobilenet_v1_in1k', {}, [f'backbone.layer{i}' for i in (2, 3, 4, 5)]),
    ],
)
def test_taps_are_those_of_the_paper(config: str, options: dict[str, Any], sources: list[str]) -> None:
    model = build_model(dict(cfg_path=f'{ROOT}/configs/{config}.py', cfg_options=options))
    assert [tap.source for tap in find_taps(model, (32, 32) if 'cifar' in config else None)] == sources


def test_frozen_stages_are_taps_of_a_teacher_only() -> None:
    model = build_model(dict(cfg_path='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'))
    assert [tap.source for tap in find_taps(model)] == LAYERS


class Network(nn.Module):
    """Three stages that are called with options of the test."""

    def __init__(self, call: Any = None) -> None:
        super().__init__()
        stages = [(3, 4), (4, 8), (8, 16), (16, 32)]
        self.parts = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.Conv2d(b, b, 1)) for a, b in stages)
        self.call = call or (lambda part, x, index: part(x))

    def forward(self, x: Tensor) -> Tensor:
        for index, part in enumerate(self.parts):
            x = self.call(part, x, index)
        return x


def _no_grad(part: nn.Module, x: Tensor, index: int) -> Tensor:
    with torch.set_grad_enabled(index > 1):
        return part(x)


def _detached(part: nn.Module, x: Tensor, index: int) -> Tensor:
    return part(x).detach() if index == 0 else part(x)


def _checkpointed(part: nn.Module, x: Tensor, index: int) -> Tensor:
    return checkpoint(part, x, use_reentrant=True)


@pytest.mark.parametrize(
    ('call', 'strides'),
    [(None, [4, 8, 16]), (_no_grad, [8, 16]), (_detached, [4, 8, 16]), (_checkpointed, [4, 8, 16])],
)
def test_taps_of_a_plain_model_are_reached_by_the_gradient(call: Any, strides: list[int]) -> None:
    assert [tap.stride for tap in find_taps(Network(call), (64, 64), trained=True)] == strides


def test_names_have_no_meaning() -> None:
    model = build_model(classifier())
    stages = {f'layer{i}': getattr(model.backbone, f'layer{i}') for i in (1, 2, 3, 4)}
    names = dict(zip(stages, ('zebra', 'x', 'decoder', 'stem')))
    for name, stage in stages.items():
        delattr(model.backbone, name)
        setattr(model.backbone, names[name], stage)
    model.backbone.res_layers = list(names.values())
    assert [tap.source for tap in find_taps(model)] == [f'backbone.{name}' for name in names.values()]


class Encoder(nn.Module):
    """A transformer inside one module that keeps the number of tokens."""

    def __init__(self, num_blocks: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, 16)
        block = [nn.TransformerEncoderLayer(8, 1, 16, batch_first=True) for _ in range(num_blocks)]
        self.body = nn.Sequential(nn.Sequential(*block), nn.LayerNorm(8))

    def forward(self, image: Tensor) -> Tensor:
        return self.body(self.patches(image).flatten(2).transpose(1, 2))


def test_a_module_around_all_blocks_is_searched() -> None:
    taps = find_taps(Encoder(8), (64, 96))
    assert [tap.source for tap in taps] == [f'body.0.{i}' for i in (1, 3, 5, 7)]
    assert {tap.grid for tap in taps} == {Grid(4, 6)}


def test_tokens_without_a_grid_are_reported() -> None:
    class Pooled(Encoder):
        def forward(self, image: Tensor) -> Tensor:
            return self.body(self.patches(image).mean(3).transpose(1, 2))

    with pytest.raises(ConfigValueError, match=r"Pooled has .* height and width of its tokens \('body.* do not follow"):
        find_taps(Pooled(8), (64, 96))


class OneSize(Encoder):
    """A transformer with a class token and a fixed position embedding, which has no map of its grid."""

    def __init__(self, side: int, patch: int, prefix: int) -> None:
        super().__init__(4)
        self.prefix = nn.Parameter(torch.zeros(1, prefix, 8))
        self.patches = nn.Linear(3 * patch**2, 8)
        self.position, self.patch = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + prefix, 8)), patch

    def forward(self, image: Tensor) -> Tensor:
        patches = nn.functional.unfold(image, self.patch, stride=self.patch).transpose(1, 2)
        return self.body(torch.cat([self.prefix, self.patches(patches)], 1) + self.position)


@pytest.mark.parametrize(('side', 'patch', 'prefix'), [(224, 16, 1), (32, 4, 0), (224, 32, 2)])
def test_a_model_of_one_image_size_has_the_likely_grid(side: int, patch: int, prefix: int) -> None:
    taps = find_taps(OneSize(side, patch, prefix))
    assert [tap.source for tap in taps] == [f'body.0.{i}' for i in range(4)]
    assert {tap.grid for tap in taps} == {Grid(side // patch, side // patch, prefix)}
    assert {tap.stride for tap in taps} == {patch}


def test_a_model_of_small_images_is_searched() -> None:
    taps = find_taps(build_model(dict(cfg_path='mmpretrain::lenet/lenet5_mnist.py')))
    assert [(tap.config, tap.grid) for tap in taps] == [
        ('backbone.features.0', Grid(28, 28)),
        ('backbone.features.3', Grid(10, 10)),
    ]


def test_many_tokens_outside_of_a_grid_leave_it_undetermined() -> None:
    with pytest.raises(ConfigValueError, match='do not follow from the size of the image'):
        find_taps(OneSize(224, 56, 7))


def test_a_backbone_whose_output_is_nested_is_searched() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = Network(lambda part, x, index: part(x)), nn.Conv2d(32, 8, 1)
            self.backbone.register_forward_hook(lambda module, inputs, output: ([output, [output]],))

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.backbone(image)[0][0])

    assert {tap.source.partition('.')[0] for tap in find_taps(Nested(), (64, 64))} == {'backbone'}


def test_a_fully_frozen_model_has_no_taps() -> None:
    with pytest.raises(ConfigValueError, match=r'Network has 0 layers .* frozen or detached'):
        find_taps(Network().requires_grad_(False), (64, 64), trained=True)


def test_a_trace_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).train()
    trace_model(model, (8, 8))
    assert model.training
    assert model[2].inplace
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model[1].num_batches_tracked == 0


def test_a_module_that_is_called_twice_is_tapped_at_its_last_call() -> None:
    def twice(part: nn.Module, x: Tensor, index: int) -> Tensor:
        x = part[0](x)
        return part[1](part[1](x))

    taps = find_taps(Network(twice), (64, 64))
    assert [tap.config for tap in taps] == [dict(source=f'parts.{i}.1', record_idx=1) for i in range(4)]


def test_strides_of_maps_that_are_one_position_too_long() -> None:
    pools = [nn.MaxPool2d(3, 2, 1, ceil_mode=True) for _ in range(2)]
    stages = [
        nn.Conv2d(3, 4, 2, 2),
        nn.Conv2d(4, 4, 2, 2),
        *(nn.Sequential(pool, nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)) for pool in pools),
    ]
    taps = find_taps(nn.Sequential(*stages), (128, 128))
    assert [(tap.grid.height, tap.stride) for tap in taps] == [(64, 2), (32, 4), (17, 8), (9, 16)]


def test_a_patch_size_that_is_no_power_of_two_is_a_stride() -> None:
    taps = find_taps(
        nn.Sequential(
            nn.Conv2d(3, 4, 14, 14), *(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)) for _ in range(4))
        ),
        (128, 128),
    )
    assert [(tap.grid.height, tap.stride) for tap in taps] == [(9, 14)] * 4


def test_parallel_branches_are_recorded_before_their_activations() -> None:
    model = build_model(
        dict(cfg_path='mmseg::hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024.py', cfg_options={'pretrained': None})
    )
    taps = find_taps(model)
    assert [tap.activation for tap in taps] == ['ReLU'] * 4
    distiller = dict(type='LipschitzDistiller', taps=[tap.config for tap in taps], losses=['lipschitz'])
    config = dict(
        type='LipschitzDistill', architecture=model, teacher=model, distiller=distiller, allow_random_teacher=True
    )
    distillation = MODELS.build(config)
    recorders = distillation.distiller.student_recorders
    with recorders, torch.no_grad():
        outputs = model.eval().backbone(torch.rand(1, 3, 64, 64))
    records = [distillation.distiller.network_taps[True].read(f'tap{i}') for i in range(4)]
    for record, output in zip(records, outputs):
        assert record.min() < 0
        torch.testing.assert_close(record.relu(), output)
