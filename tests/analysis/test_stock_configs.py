import re
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from lckd_mm.analysis.stock_configs import StockConfig, check_config, check_files, report, stock_configs
from lckd_mm.engine.class_counts import ClassHead
from lckd_mm.errors import ConfigValueError

FILES = {path.name: path for path in stock_configs()}

SAMPLE = [
    'cascade-rcnn_r50_fpn_1x_coco',
    'cascade-mask-rcnn_r50_fpn_1x_coco',
    'htc_r50_fpn_1x_coco',
    'scnet_r50_fpn_1x_coco',
    'panoptic-fpn_r50_fpn_1x_coco',
    'maskformer_r50_ms-16xb1-75e_coco',
    'mask2former_r50_8xb2-lsj-50e_coco-panoptic',
    'mask2former_r50_8xb2-lsj-50e_coco',
    'point-rend_r50-caffe_fpn_ms-1x_coco',
    'rpn_r50_fpn_1x_coco',
    'faster-rcnn_r50_fpn_1x_voc0712',
    'faster-rcnn_r50_fpn_1x_cityscapes',
    'mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1',
    'ms-rcnn_r50-caffe_fpn_1x_coco',
    'retinanet_r50_fpn_1x_coco',
    'ssd300_8xb32-24e_widerface',
    'detr_r50_8xb2-150e_coco',
    'solov2_r50_fpn_1x_coco',
    'yolact_r50_1xb8-55e_coco',
    'reid_r50_8xb32-6e_mot17train80_test-mot17val20',
    'faster-rcnn_r50_fpn_32xb2-1x_openimages',
    'mask2former_r50_8xb2-160k_ade20k-512x512',
    'pointrend_r50_4xb2-80k_cityscapes-512x1024',
    'unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128',
    'stdc1_4xb12-80k_cityscapes-512x1024',
    'ocrnet_hr18_4xb2-40k_cityscapes-512x1024',
    'pidnet-s_2xb6-120k_1024x1024-cityscapes',
    'bisenetv2_fcn_4xb8-160k_cityscapes-1024x1024',
    'san-vit-b16_voc12aug-640x640',
    'efficientnetv2-s_8xb32_in21k',
    'pspnet_r50-d8_4xb4-20k_voc12aug-512x512',
    'icnet_r18-d8_4xb2-80k_cityscapes-832x832',
    'resnet18_8xb32_in1k',
    'resnet50_8xb16_cifar100',
    'vgg16_8xb16_voc',
    'resnet101-csra_1xb16_voc07-448px',
    'mocov2_resnet50_8xb32-coslr-200e_in1k',
    'swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px',
    'resnet50-arcface_8xb32_inshop',
    'resnet50_8xb8_cub',
    'convnext-base_32xb128_in21k',
    'deit-tiny_4xb256_in1k',
]


@pytest.fixture(scope='module')
def cache() -> dict[str, list[ClassHead]]:
    return {}


@pytest.mark.parametrize('name', SAMPLE)
def test_a_stock_config_is_accepted_with_its_own_data_set(name: str, cache: dict[str, list[ClassHead]]) -> None:
    assert check_config(Config.fromfile(FILES[f'{name}.py']), cache).problem is None


def _checked(name: str, path: str, **counts: int) -> StockConfig:
    """Check a config in which the head at `path` has other counts."""
    cfg = Config.fromfile(FILES[f'{name}.py'])
    part: Any = cfg.model
    for key in path.split('.'):
        part = part[int(key) if key.isdigit() else key]
    part.update(counts)
    return check_config(cfg)


@pytest.mark.parametrize(
    ('name', 'path', 'message'),
    [
        (
            'cascade-rcnn_r50_fpn_1x_coco',
            'roi_head.bbox_head.1',
            r'^roi_head.bbox_head.1 has num_classes=7, .*80 classes',
        ),
        ('htc_r50_fpn_1x_coco', 'roi_head.mask_head.2', r'^roi_head.mask_head.2 has num_classes=7'),
        ('point-rend_r50-caffe_fpn_ms-1x_coco', 'roi_head.point_head', r'^roi_head.point_head has num_classes=7'),
        ('panoptic-fpn_r50_fpn_1x_coco', 'roi_head.bbox_head', r'133 classes, 80 of them things .*num_classes=80'),
        (
            'pointrend_r50_4xb2-80k_cityscapes-512x1024',
            'decode_head.1',
            r'^decode_head.1 has num_classes=7, .*19 classes',
        ),
        ('stdc1_4xb12-80k_cityscapes-512x1024', 'auxiliary_head.0', r'^auxiliary_head.0 has num_classes=7'),
        (
            'pspnet_r50-d8_4xb4-20k_voc12aug-512x512',
            'auxiliary_head',
            r'^auxiliary_head has num_classes=7, .*21 classes',
        ),
        ('mask2former_r50_8xb2-160k_ade20k-512x512', 'decode_head', r'^decode_head has num_classes=7, .*150 classes'),
        ('resnet18_8xb32_in1k', 'head', r'^head has num_classes=7, .*1000 classes'),
    ],
)
def test_a_head_with_a_wrong_number_of_classes_is_refused(name: str, path: str, message: str) -> None:
    problem = _checked(name, path, num_classes=7).problem
    assert problem is not None
    assert re.search(message, problem), problem


@pytest.mark.parametrize('path', ['semantic_head', 'panoptic_fusion_head'])
def test_wrong_numbers_of_things_and_stuff_are_refused(path: str) -> None:
    problem = _checked('panoptic-fpn_r50_fpn_1x_coco', path, num_things_classes=53, num_stuff_classes=80).problem
    assert problem is not None
    assert f'{path} has num_things_classes=53 and num_stuff_classes=80' in problem
    assert 'set num_things_classes=80 and num_stuff_classes=53' in problem


def test_a_cascade_for_another_data_set_is_refused_with_all_of_its_heads() -> None:
    cfg = Config.fromfile(FILES['cascade-rcnn_r50_fpn_1x_coco.py'])
    cfg.train_dataloader.dataset.metainfo = dict(classes=tuple('abcdefghij'))
    problem = check_config(cfg).problem
    assert problem is not None
    assert problem.startswith(
        'roi_head.bbox_head.0 has num_classes=80, but the training data have 10 classes (a, b, c, d, ...)'
    )
    assert 'roi_head.bbox_head.1, roi_head.bbox_head.2 likewise' in problem


@pytest.mark.parametrize(('num_classes', 'is_accepted'), [(20, True), (21, False)])
def test_a_head_for_several_labels_is_compared(num_classes: int, is_accepted: bool) -> None:
    cfg = Config.fromfile(FILES['resnet101-csra_1xb16_voc07-448px.py'])
    cfg.model.head = dict(type='MultiLabelLinearClsHead', num_classes=num_classes, in_channels=8)
    assert (check_config(cfg).problem is None) == is_accepted


def test_validation_data_with_other_classes_are_refused() -> None:
    cfg = Config.fromfile(FILES['retinanet_r50_fpn_1x_coco.py'])
    cfg.train_dataloader.dataset.metainfo = dict(classes=('a', 'b'))
    cfg.model.bbox_head.num_classes = 2
    assert 'validation data have 80 classes' in str(check_config(cfg).problem)


def test_the_report_counts_refused_configs_and_those_that_are_not_built(tmp_path: Path) -> None:
    broken = tmp_path / 'broken.py'
    broken.write_text("model = dict(type='NoSuchModel')\n")
    results = [*check_files([broken]), (Path('a/b.py'), StockConfig([], {}, 'head has num_classes=1'))]
    text, is_accepted = report(results)
    assert not is_accepted
    assert text.splitlines()[0].endswith('1 not built, 1 refused')
    assert 'refused: a/b.py: head has num_classes=1' in text


def test_an_unknown_package_is_an_error_with_the_valid_ones() -> None:
    with pytest.raises(
        ConfigValueError, match=r"'no_such_package' is not installed; valid: 'mmdet', 'mmseg', 'mmpretrain'"
    ):
        stock_configs(['no_such_package'])
