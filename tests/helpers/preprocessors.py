"""Data preprocessors of all packages, and batches of random images of different sizes for them."""

from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn

import lckd_mm  # noqa: F401  (registers the components)

SIZES = ((32, 40), (24, 48), (20, 30))
PADDED = (32, 48)
STUDENT = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
TEACHER = dict(mean=[103.53, 110.0, 120.0], std=[1.0, 2.0, 0.5])
RAW: dict[str, Any] = {}


def engine(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    """Return mmengine's data preprocessor."""
    return _build('mmengine.ImgDataPreprocessor', pad_value=pad, bgr_to_rgb=is_reversed, **statistics)


def detection(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    """Return mmdet's data preprocessor."""
    return _build('mmdet.DetDataPreprocessor', pad_value=pad, rgb_to_bgr=is_reversed, **statistics)


def segmentation(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    """Return mmseg's data preprocessor."""
    return _build('mmseg.SegDataPreProcessor', pad_val=pad, bgr_to_rgb=is_reversed, size=PADDED, **statistics)


def classification(pad: float, is_reversed: bool, **statistics: Any) -> nn.Module:
    """Return mmpretrain's data preprocessor."""
    return _build('mmpretrain.ClsDataPreprocessor', pad_value=pad, to_rgb=is_reversed, **statistics)


KINDS = (engine, detection, segmentation, classification)


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


def preprocess(preprocessor: nn.Module, sizes: tuple = SIZES) -> dict[str, Any]:
    """Return the training batch of random images of these sizes, the same for every data preprocessor."""
    images = [
        torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(i)) for i, size in enumerate(sizes)
    ]
    data = dict(inputs=[image.byte() for image in images], data_samples=[_sample(preprocessor, size) for size in sizes])
    return preprocessor(data, True)


def assert_same_pixels(actual: Tensor, expected: Tensor) -> None:
    """Assert that two batches are equal to the rounding of float32."""
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=4 * torch.finfo(torch.float32).eps * scale)
