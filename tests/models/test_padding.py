"""Batches of images of different sizes: padding does not affect the spectral norms."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

import lckd_mm
from lckd_mm.models.utils import compute_valid_ratios

SIZES = ((64, 96), (96, 64), (32, 48))


def _detection() -> tuple[dict, type]:
    from mmdet.structures import DetDataSample

    return dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32), DetDataSample


def _segmentation() -> tuple[dict, type]:
    from mmseg.structures import SegDataSample

    return dict(type='mmseg.SegDataPreProcessor', size=(96, 96)), SegDataSample


def _batch(make: Callable, sizes: tuple = SIZES) -> dict:
    config, sample = make()
    images = [torch.rand(3, *size, generator=torch.Generator().manual_seed(i)) * 255 for i, size in enumerate(sizes)]
    samples = [sample(metainfo=dict(img_shape=size, ori_shape=size)) for size in sizes]
    if sample.__name__ == 'SegDataSample':
        from mmengine.structures import PixelData

        for one, size in zip(samples, sizes):
            one.gt_sem_seg = PixelData(data=torch.zeros(1, *size, dtype=torch.int64))
    with DefaultScope.overwrite_default_scope('mmengine'):
        return MODELS.build(config)(dict(inputs=images, data_samples=samples), True)


@pytest.mark.parametrize('make', [_detection, _segmentation])
def test_valid_ratios_of_padded_batches_are_exact(make: Callable) -> None:
    batch = _batch(make)
    assert batch['inputs'].shape[-2:] == (96, 96)
    expected = torch.tensor([[2 / 3, 1], [1, 2 / 3], [1 / 3, 1 / 2]])
    torch.testing.assert_close(compute_valid_ratios(**_named(batch)), expected)
    assert compute_valid_ratios(**_named(_batch(make, ((96, 96), (96, 96))))) is None


def _named(batch: dict) -> dict:
    return dict(batch_inputs=batch['inputs'], data_samples=batch['data_samples'])


def test_classifier_images_are_never_padded() -> None:
    from mmpretrain.structures import DataSample

    # The size of the file, before torchvision's transforms resize the image.
    samples = [DataSample(metainfo=dict(img_shape=(40, 50))) for _ in range(2)]
    assert compute_valid_ratios(torch.zeros(2, 3, 64, 64), samples) is None
    assert compute_valid_ratios(torch.zeros(2, 3, 64, 64), None) is None


def _norms(model: torch.nn.Module, images: Tensor, samples: list) -> Tensor:
    """The norms of student and teacher, (2, pairs, batch), as a training step computes them."""
    with torch.no_grad():
        model.loss(images, samples)
    norms = model.distiller.spectral_norms['loss_lipschitz']
    return torch.stack([norms['student'], norms['teacher']])


def test_image_has_the_same_norms_in_a_padded_batch_and_in_a_batch_of_its_own() -> None:
    from mmengine.structures import InstanceData

    cfg = Config.fromfile(Path(lckd_mm.__file__).parents[1] / 'configs/demo/lckd_faster_rcnn_r50_r18_digits.py')
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    # With running statistics an image does not depend on the others of its batch.
    model.eval()
    sizes = ((128, 192), (192, 128))
    batch = _batch(_detection, sizes)
    for sample in batch['data_samples']:
        sample.gt_instances = InstanceData(bboxes=torch.tensor([[8.0, 8, 60, 60]]), labels=torch.tensor([1]))
    images, samples = batch['inputs'] / 255 - 0.5, batch['data_samples']
    images[0, :, 128:], images[1, :, :, 128:] = 0, 0

    together = _norms(model, images, samples)
    unmarked = [type(sample)(metainfo=dict(sample.metainfo, img_shape=(192, 192))) for sample in samples]
    for copy, sample in zip(unmarked, samples):
        copy.gt_instances = sample.gt_instances
    padded = _norms(model, images, unmarked)
    for index, (height, width) in enumerate(sizes):
        sample = samples[index].clone()
        sample.set_metainfo(dict(batch_input_shape=(height, width), pad_shape=(height, width)))
        alone = _norms(model, images[index : index + 1, :, :height, :width], [sample])[..., 0]
        error = (together[..., index] / alone - 1).abs()
        # The rest is the effect of the receptive fields that reach beyond the border.
        assert error.max() < 0.12
        assert error.mean() < (padded[..., index] / alone - 1).abs().mean() / 4
