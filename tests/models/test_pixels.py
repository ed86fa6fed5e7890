"""The teacher receives the pixels that its own data preprocessor would make of the raw images."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn

from lckd_mm.models.utils import build_model, record_valid_shapes
from lckd_mm.models.utils.pixels import PixelConversion, PixelFormat, make_pixel_conversion, read_pixel_format
from tests.helpers.small_classifiers import TAPS, build_distillation, classifier, spectral_distiller

SIZES = ((32, 40), (24, 48), (20, 30))
PADDED = (32, 48)
STUDENT = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
TEACHER = dict(mean=[103.53, 110.0, 120.0], std=[1.0, 2.0, 0.5])
RAW: dict[str, Any] = {}


def _engine(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    return _build('mmengine.ImgDataPreprocessor', pad_value=pad, bgr_to_rgb=is_reversed, **statistics)


def _detection(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    return _build('mmdet.DetDataPreprocessor', pad_value=pad, rgb_to_bgr=is_reversed, **statistics)


def _segmentation(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    return _build('mmseg.SegDataPreProcessor', pad_val=pad, bgr_to_rgb=is_reversed, size=PADDED, **statistics)


def _classification(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    return _build('mmpretrain.ClsDataPreprocessor', pad_value=pad, to_rgb=is_reversed, **statistics)


KINDS = (_engine, _detection, _segmentation, _classification)


def _build(kind: str, **options: Any) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmengine'):
        return MODELS.build(dict(type=kind, **options))


def _sample(preprocessor: nn.Module, size: tuple[int, int]) -> BaseDataElement:
    from mmdet.structures import DetDataSample
    from mmpretrain.structures import DataSample
    from mmseg.structures import SegDataSample

    if 'Det' in type(preprocessor).__name__:
        return DetDataSample(metainfo=dict(img_shape=size))
    if 'Seg' in type(preprocessor).__name__:
        labels = PixelData(data=torch.zeros(1, *size, dtype=torch.int64))
        return SegDataSample(metainfo=dict(img_shape=size), gt_sem_seg=labels)
    if 'Cls' in type(preprocessor).__name__:
        # torchvision's transforms leave the size of the file.
        return DataSample(metainfo=dict(img_shape=(17, 19))).set_gt_label(0)
    return BaseDataElement()


def _preprocess(preprocessor: nn.Module, sizes: tuple = SIZES) -> dict[str, Any]:
    images = [
        torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(i)) for i, size in enumerate(sizes)
    ]
    data = dict(inputs=[image.byte() for image in images], data_samples=[_sample(preprocessor, size) for size in sizes])
    return preprocessor(data, True)


def _assert_same_pixels(actual: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=4 * torch.finfo(torch.float32).eps * scale)


@pytest.mark.parametrize('teacher_kind', KINDS)
@pytest.mark.parametrize('student_kind', KINDS)
@pytest.mark.parametrize('statistics', [(STUDENT, TEACHER), (RAW, STUDENT), (STUDENT, RAW), (STUDENT, STUDENT)])
def test_teacher_receives_what_its_own_preprocessor_makes_of_the_raw_images(
    student_kind: Any, teacher_kind: Any, statistics: tuple
) -> None:
    for reversals in ((False, False), (True, False), (False, True), (True, True)):
        student = student_kind(0.25, reversals[0], **statistics[0])
        teacher = teacher_kind(114.0, reversals[1], **statistics[1])
        record_valid_shapes(student)
        batch = _preprocess(student)
        before = batch['inputs'].clone()
        converted = make_pixel_conversion(student, teacher)(batch['inputs'], batch['data_samples'])
        assert converted.shape[-2:] == PADDED
        _assert_same_pixels(converted, _preprocess(teacher)['inputs'])
        assert torch.equal(batch['inputs'], before)


@pytest.mark.parametrize(
    'augment', [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0), dict(type='ResizeMix', alpha=1.0)]
)
def test_batch_augments_before_the_conversion_are_exact(augment: dict) -> None:
    options = dict(num_classes=3, batch_augments=dict(augments=[augment]))
    student = _classification(0, True, **STUDENT, **options)
    teacher = _classification(0, False, **TEACHER, **options)
    batches = []
    for preprocessor in (student, teacher):
        np.random.seed(0)
        torch.manual_seed(0)
        batches.append(_preprocess(preprocessor, (PADDED,) * 4))
    converted = make_pixel_conversion(student, teacher)(batches[0]['inputs'], batches[0]['data_samples'])
    _assert_same_pixels(converted, batches[1]['inputs'])


def test_equal_formats_return_the_batch_itself(caplog: pytest.LogCaptureFixture) -> None:
    conversion = make_pixel_conversion(_detection(0, True, **STUDENT), _classification(0, True, **STUDENT))
    images = torch.randn(2, 3, 8, 8)
    assert conversion.is_identity
    assert conversion(images) is images
    assert make_pixel_conversion(images, images)(images) is images


def test_reversal_of_equal_channels_changes_only_their_order() -> None:
    conversion = PixelConversion(PixelFormat(), PixelFormat(is_reversed=True))
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(conversion(images), images[:, [2, 1, 0]])
    # mmseg and mmpretrain reverse three channels only; a video has its frames before the channels.
    assert torch.equal(conversion(images[:, :1]), images[:, :1])
    assert torch.equal(conversion(images[:, None]), images[:, None, [2, 1, 0]])


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.uint8])
def test_data_type_and_layout_are_kept_under_autocast(layout: torch.memory_format, dtype: torch.dtype) -> None:
    conversion = PixelConversion(
        PixelFormat(), PixelFormat(is_reversed=True, mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))
    )
    images = torch.randint(0, 256, (2, 3, 6, 5)).to(dtype).to(memory_format=layout)
    with torch.autocast('cpu', torch.bfloat16):
        converted = conversion(images)
    assert converted.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert converted.is_contiguous(memory_format=layout)
    expected = (images[:, [2, 1, 0]].double() - torch.tensor([100.0, 110, 120]).view(3, 1, 1)) / torch.tensor(
        [50.0, 60, 70]
    ).view(3, 1, 1)
    torch.testing.assert_close(converted.double(), expected, rtol=0, atol=1e-2 if dtype == torch.bfloat16 else 1e-6)


def test_formats_of_all_preprocessors_of_the_packages_are_known() -> None:
    import mmdet.models
    import mmpretrain.models

    tracking = mmdet.models.TrackDataPreprocessor(**STUDENT, bgr_to_rgb=True)
    views = mmpretrain.models.SelfSupDataPreprocessor(**STUDENT, to_rgb=True)
    identification = mmdet.models.ReIDDataPreprocessor(**STUDENT, to_rgb=True)
    expected = PixelFormat(
        True, *(tuple(torch.tensor(values).double().tolist()) for values in STUDENT.values()), pad_value=0.0
    )
    assert [read_pixel_format(p) for p in (tracking, views, identification)] == [expected] * 3
    assert read_pixel_format(BaseDataPreprocessor()) == PixelFormat()
    # One value per frame and channel cannot be attributed to channels.
    video = mmpretrain.models.VideoDataPreprocessor(**STUDENT, format_shape='NCTHW')
    assert read_pixel_format(video) is None


class _Stacking(BaseDataPreprocessor):
    """Casts and stacks."""


class _Unknown(BaseDataPreprocessor):
    def __init__(self, mean: float) -> None:
        super().__init__()
        self.register_buffer('pixel_mean', torch.tensor(mean))


@pytest.mark.parametrize(
    ('student', 'teacher', 'is_warned'),
    [
        (_Stacking(), BaseDataPreprocessor(), False),
        (_Unknown(1.0), _Unknown(1.0), False),
        (_Unknown(1.0), _Unknown(2.0), True),
        (_detection(0, False, **STUDENT), _Unknown(2.0), True),
        (_detection(0, False, **STUDENT), nn.Identity(), True),
    ],
)
def test_unknown_preprocessors_are_reported_unless_they_are_equal(
    student: nn.Module, teacher: nn.Module, is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = _record_logs(monkeypatch)
    images = torch.randn(1, 3, 4, 4)
    assert make_pixel_conversion(student, teacher)(images) is images
    assert len(logged) == is_warned
    assert all(type(preprocessor).__name__ in message for message in logged for preprocessor in (student, teacher))


def _record_logs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    logged: list[str] = []
    monkeypatch.setattr('lckd_mm.models.utils.pixels.print_log', lambda message, **_: logged.append(message))
    return logged


def test_a_conversion_is_logged_once_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = _record_logs(monkeypatch)
    make_pixel_conversion(
        _detection(0, False, mean=[1.0], std=[2.0]), _classification(114, True, mean=[1.0], std=[4.0])
    )
    assert logged == [
        "The teacher receives the student's pixels converted to those of its own data_preprocessor: std [2] to [4], order of the "
        'channels reversed, padding 0 to 114.'
    ]


def test_inputs_that_are_no_tensor_of_images_are_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    conversion = PixelConversion(PixelFormat(), PixelFormat(is_reversed=True))
    logged = _record_logs(monkeypatch)
    views = [torch.randn(1, 3, 4, 4)] * 2
    assert conversion(views) is views  # type: ignore[arg-type]
    assert conversion(views) is views  # type: ignore[arg-type]
    assert len(logged) == 1
    assert 'list' in logged[0]


@pytest.mark.parametrize('is_student', [True, False])
def test_a_standard_deviation_of_zero_is_an_error(is_student: bool) -> None:
    formats = [PixelFormat(), PixelFormat(std=(1.0, 0.0, 1.0))]
    with pytest.raises(ValueError, match=r'std=\[1, 0, 1\]'):
        PixelConversion(*(formats[::-1] if is_student else formats))


def test_different_numbers_of_channels_are_an_error() -> None:
    rgb, four = PixelFormat(mean=(1.0,) * 3, std=(1.0,) * 3), PixelFormat(mean=(2.0,) * 4, std=(1.0,) * 4)
    with pytest.raises(ValueError, match='as many channels'):
        PixelConversion(rgb, four)
    assert PixelConversion(PixelFormat(mean=(1.0,)), four).shift == [-1.0] * 4


# In a distillation


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
    batch = _preprocess(model.data_preprocessor, (PADDED,) * 3)
    model(**batch, mode='loss')
    return received[0], batch['inputs']


@pytest.mark.parametrize('options', [{}, dict(teacher_trainable=True), dict(teacher_trainable=True, is_stopped=True)])
def test_training_step_converts_the_pixels_of_every_teacher(options: dict) -> None:
    is_stopped = options.pop('is_stopped', False)
    model = _distill(teacher=_with_pixels(classifier(depth=50), **TEACHER), **options)
    model.distillation_stopped = is_stopped
    own = copy.deepcopy(model.teacher.data_preprocessor)
    images, _ = _teacher_images(model)
    _assert_same_pixels(images, _preprocess(own, (PADDED,) * 3)['inputs'])


def test_training_step_finds_the_padding_by_the_images_of_the_pipeline() -> None:
    model = _distill(teacher=_with_pixels(classifier(depth=50), pad_value=114, **TEACHER))
    received: list[Tensor] = []
    model.teacher.backbone.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    model(**_preprocess(model.data_preprocessor), mode='loss')
    _assert_same_pixels(received[0], _preprocess(_classification(114, False, **TEACHER))['inputs'])


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
    _assert_same_pixels(images, _preprocess(_classification(0, False), (PADDED,) * 3)['inputs'])


@pytest.mark.parametrize('options', [None, {'data_preprocessor': None}])
def test_teacher_of_an_mmpretrain_config_has_the_pixels_of_its_top_level(options: dict | None) -> None:
    teacher = dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', cfg_options=options)
    model = _distill(teacher=teacher)
    cifar = dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255])
    images, batch = _teacher_images(model)
    if options is None:
        _assert_same_pixels(images, _preprocess(_classification(0, False, **cifar), (PADDED,) * 3)['inputs'])
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
    expected = read_pixel_format(_detection(pad_value, True, **STUDENT))
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
