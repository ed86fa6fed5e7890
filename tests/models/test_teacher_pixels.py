"""In a distillation, the teacher receives the pixels that its own data preprocessor would make of the raw images."""

import copy
from typing import Any

import pytest
from torch import Tensor, nn

from lckd_mm.models.utils import build_model
from lckd_mm.models.utils.pixels import read_pixel_format
from tests.helpers.preprocessors import (
    PADDED,
    STUDENT,
    TEACHER,
    assert_same_pixels,
    classification,
    detection,
    preprocess,
)
from tests.helpers.small_classifiers import TAPS, build_distillation, classifier, spectral_distiller


def _with_pixels(model: dict[str, Any], **options: Any) -> dict[str, Any]:
    return dict(model, data_preprocessor=dict(type='ClsDataPreprocessor', **options))


def _distill(**changes: Any) -> nn.Module:
    model = build_distillation(architecture=_with_pixels(classifier(), to_rgb=True, **STUDENT), **changes)
    model.init_weights()
    return model.train()


def _teacher_images(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return what a training step gives the teacher, and the batch of the student."""
    received: list[Tensor] = []
    model.teacher.backbone.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    batch = preprocess(model.data_preprocessor, (PADDED,) * 3)
    model(**batch, mode='loss')
    return received[0], batch['inputs']


@pytest.mark.parametrize('options', [{}, dict(teacher_trainable=True), dict(teacher_trainable=True, is_stopped=True)])
def test_training_step_converts_the_pixels_of_every_teacher(options: dict) -> None:
    is_stopped = options.pop('is_stopped', False)
    model = _distill(teacher=_with_pixels(classifier(depth=50), **TEACHER), **options)
    model.distillation_stopped = is_stopped
    own = copy.deepcopy(model.teacher.data_preprocessor)
    images, _ = _teacher_images(model)
    assert_same_pixels(images, preprocess(own, (PADDED,) * 3)['inputs'])


def test_training_step_finds_the_padding_by_the_images_of_the_pipeline() -> None:
    model = _distill(teacher=_with_pixels(classifier(depth=50), pad_value=114, **TEACHER))
    received: list[Tensor] = []
    model.teacher.backbone.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    model(**preprocess(model.data_preprocessor), mode='loss')
    assert_same_pixels(received[0], preprocess(classification(114, False, **TEACHER))['inputs'])


def test_teacher_without_a_data_preprocessor_receives_the_pixels_of_the_student() -> None:
    model = _distill()
    images, batch = _teacher_images(model)
    assert images is batch
    assert model.teacher.data_preprocessor is model.data_preprocessor
    copied = copy.deepcopy(model)
    assert copied.data_preprocessor is not model.data_preprocessor
    assert copied.teacher is model.teacher


def test_teacher_with_a_data_preprocessor_without_mean_receives_raw_pixels() -> None:
    model = _distill(teacher=_with_pixels(classifier(depth=50)))
    images, _ = _teacher_images(model)
    assert_same_pixels(images, preprocess(classification(0, False), (PADDED,) * 3)['inputs'])


@pytest.mark.parametrize('options', [None, {'data_preprocessor': None}])
def test_teacher_of_an_mmpretrain_config_has_the_pixels_of_its_top_level(options: dict | None) -> None:
    teacher = dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', cfg_options=options)
    model = _distill(teacher=teacher)
    cifar = dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255])
    images, batch = _teacher_images(model)
    if options is None:
        assert_same_pixels(images, preprocess(classification(0, False, **cifar), (PADDED,) * 3)['inputs'])
    else:
        assert images is batch


@pytest.mark.parametrize(
    ('path', 'pad_value'),
    [
        ('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', 0.0),
        ('mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py', 0.0),
    ],
)
def test_teacher_of_a_detection_or_segmentation_config_has_the_pixels_of_its_model(path: str, pad_value: float) -> None:
    options = {'backbone.init_cfg': None, 'pretrained': None} if 'mmseg' in path else {'backbone.init_cfg': None}
    student = dict(classifier(), data_preprocessor=dict(type='ClsDataPreprocessor'))
    model = build_distillation(
        spectral_distiller(taps=TAPS[2:]), architecture=student, teacher=dict(cfg_path=path, cfg_options=options)
    )
    expected = read_pixel_format(detection(pad_value, True, **STUDENT))
    assert model.pixel_conversion.teacher == expected


@pytest.mark.parametrize(
    ('options', 'is_shared'),
    [
        (None, True),
        (dict(mean=[1.0], std=[2.0]), False),
        (dict(to_rgb=True), False),
        (dict(pad_size_divisor=32), False),
    ],
)
def test_a_built_teacher_has_pixels_of_its_own_unless_its_preprocessor_does_nothing(
    options: dict | None, is_shared: bool
) -> None:
    teacher = build_model(classifier(depth=50) if options is None else _with_pixels(classifier(depth=50), **options))
    model = _distill(teacher=teacher)
    assert (model.teacher.data_preprocessor is model.data_preprocessor) == is_shared
    assert model.pixel_conversion.is_identity == is_shared
