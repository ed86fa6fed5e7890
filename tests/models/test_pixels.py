"""Conversion of a batch to what another data preprocessor makes of the raw images."""

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from torch import nn

from lckd_mm.models.utils import record_valid_shapes
from lckd_mm.models.utils.pixels import PixelConversion, PixelFormat, make_pixel_conversion, read_pixel_format
from tests.helpers.preprocessors import (
    KINDS,
    PADDED,
    RAW,
    STUDENT,
    TEACHER,
    assert_same_pixels,
    classification,
    detection,
    preprocess,
)


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
        batch = preprocess(student)
        before = batch['inputs'].clone()
        converted = make_pixel_conversion(student, teacher)(batch['inputs'], batch['data_samples'])
        assert converted.shape[-2:] == PADDED
        assert_same_pixels(converted, preprocess(teacher)['inputs'])
        assert torch.equal(batch['inputs'], before)


@pytest.mark.parametrize(
    'augment', [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0), dict(type='ResizeMix', alpha=1.0)]
)
def test_batch_augments_before_the_conversion_are_exact(augment: dict) -> None:
    options = dict(num_classes=3, batch_augments=dict(augments=[augment]))
    student = classification(0, True, **STUDENT, **options)
    teacher = classification(0, False, **TEACHER, **options)
    batches = []
    for preprocessor in (student, teacher):
        np.random.seed(0)
        torch.manual_seed(0)
        batches.append(preprocess(preprocessor, (PADDED,) * 4))
    converted = make_pixel_conversion(student, teacher)(batches[0]['inputs'], batches[0]['data_samples'])
    assert_same_pixels(converted, batches[1]['inputs'])


def test_equal_formats_return_the_batch_itself(caplog: pytest.LogCaptureFixture) -> None:
    conversion = make_pixel_conversion(detection(0, True, **STUDENT), classification(0, True, **STUDENT))
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
        (detection(0, False, **STUDENT), _Unknown(2.0), True),
        (detection(0, False, **STUDENT), nn.Identity(), True),
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
    make_pixel_conversion(detection(0, False, mean=[1.0], std=[2.0]), classification(114, True, mean=[1.0], std=[4.0]))
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
