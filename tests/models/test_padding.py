"""Batches of images of different sizes: where the images are, and that padding affects neither spectral norms nor OFD."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

import lckd_mm
from lckd_mm.models.utils import compute_valid_ratios, record_valid_shapes
from lckd_mm.models.utils.padding import VALID_SHAPE, image_sizes
from tests.helpers.small_classifiers import build_distillation, classification_batch, ofd_distiller

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


def _recorded(scope: str, pipeline: list[dict], images: list[np.ndarray], **options: Any) -> dict:
    """Return a training batch of a package's pipeline and data preprocessor, as a Runner makes it."""
    kinds = dict(mmdet='DetDataPreprocessor', mmseg='SegDataPreProcessor', mmpretrain='ClsDataPreprocessor')
    packing = dict(mmdet='PackDetInputs', mmseg='PackSegInputs', mmpretrain='PackInputs')
    with DefaultScope.overwrite_default_scope(scope):
        preprocessor = MODELS.build(dict(type=kinds[scope], **options))
        transforms = [TRANSFORMS.build(step) for step in (*pipeline, dict(type=packing[scope]))]
    record_valid_shapes(preprocessor)
    packed = []
    for image in images:
        size = image.shape[:2]
        results: dict[str, Any] = dict(img=image, img_shape=size, ori_shape=size, seg_fields=[])
        if scope == 'mmseg':
            results.update(gt_seg_map=np.zeros(size, np.uint8), seg_fields=['gt_seg_map'])
        for transform in transforms:
            results = transform(results)
        packed.append(results)
    inputs, samples = ([results[key] for results in packed] for key in ('inputs', 'data_samples'))
    return preprocessor(dict(inputs=inputs, data_samples=samples), True)


def _images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [np.full((*size, 3), 7, np.uint8) for size in sizes]


@pytest.mark.parametrize(
    ('scope', 'pipeline', 'options', 'expected'),
    [
        ('mmdet', [], dict(pad_size_divisor=32), [(40, 50), (60, 30)]),
        ('mmdet', [], dict(batch_augments=[dict(type='BatchFixedSizePad', size=(90, 100))]), [(40, 50), (60, 30)]),
        ('mmseg', [], dict(size=(80, 80)), [(40, 50), (60, 30)]),
        ('mmseg', [dict(type='RandomCrop', crop_size=(36, 36))], dict(size=(36, 36)), [(36, 36), (36, 30)]),
        ('mmpretrain', [], {}, [(40, 50), (60, 30)]),
        ('mmpretrain', [dict(type='Resize', scale=(20, 20))], {}, None),
        # What a `Pad` of the pipeline adds is part of the image.
        ('mmdet', [dict(type='Pad', size_divisor=32)], dict(pad_size_divisor=1), [(64, 64), (64, 32)]),
        ('mmdet', [dict(type='Pad', size=(70, 70))], dict(pad_size_divisor=32), [(70, 70), (70, 70)]),
        ('mmseg', [dict(type='Pad', size=(64, 64))], dict(size=(64, 64)), None),
    ],
)
def test_images_are_what_the_pipeline_returns(scope: str, pipeline: list, options: dict, expected: list | None) -> None:
    batch = _recorded(scope, pipeline, _images((40, 50), (60, 30)), **options)
    assert image_sizes(**_named(batch)) == expected
    for image, (height, width) in zip(batch['inputs'], expected or ()):
        assert image[:, : min(height, 30), : min(width, 30)].min() == 7
        assert not image[:, height:].any()
        assert not image[..., width:].any()


def test_images_of_a_resized_batch_are_resized() -> None:
    from mmdet.structures import DetDataSample

    resize = dict(type='BatchSyncRandomResize', random_size_range=(320, 320))
    preprocessor = MODELS.build(dict(type='mmdet.DetDataPreprocessor', _scope_='mmdet', batch_augments=[resize]))
    preprocessor.batch_augments[0]._input_size = (64, 128)
    MessageHub.get_current_instance().update_info('iter', 0)
    record_valid_shapes(preprocessor)
    sizes = ((32, 64), (16, 40))
    boxes = InstanceData(bboxes=torch.zeros(0, 4))
    samples = [DetDataSample(metainfo=dict(img_shape=size), gt_instances=boxes.clone()) for size in sizes]
    batch = preprocessor(dict(inputs=[torch.zeros(3, *size) for size in sizes], data_samples=samples), True)
    assert batch['inputs'].shape[-2:] == (64, 128)
    assert image_sizes(**_named(batch)) == [(64, 128), (32, 80)]


@pytest.mark.parametrize('file', [(100, 80), (300, 400), (256, 100)])
@pytest.mark.parametrize('crop', [(256, 192), (256, 256)])
def test_a_crop_with_the_size_of_its_file_is_not_taken_for_padding(file: tuple, crop: tuple) -> None:
    from mmdet.structures import DetDataSample

    # Like mmpose's preprocessor, this one adds `pad_shape` and `batch_input_shape`, and mmpose's `img_shape` is that of the file.
    preprocessor = MODELS.build(dict(type='mmdet.DetDataPreprocessor', _scope_='mmdet'))
    record_valid_shapes(preprocessor)
    samples = [DetDataSample(metainfo=dict(img_shape=file)) for _ in range(2)]
    batch = preprocessor(dict(inputs=[torch.zeros(3, *crop)] * 2, data_samples=samples), training=True)
    assert batch['data_samples'][0].pad_shape == crop
    assert image_sizes(**_named(batch)) is None


@pytest.mark.parametrize('file', [(100, 80), (300, 400)])
def test_sizes_that_no_padding_explains_are_ignored_without_the_hook(file: tuple) -> None:
    crop = (256, 192)
    samples = [BaseDataElement(metainfo=dict(img_shape=file, pad_shape=crop, batch_input_shape=crop))] * 2
    assert compute_valid_ratios(torch.zeros(2, 3, *crop), samples) is None


def test_valid_shapes_are_recorded_for_training_only() -> None:
    preprocessor = MODELS.build(dict(type='mmdet.DetDataPreprocessor', _scope_='mmdet'))
    record_valid_shapes(preprocessor)
    data = dict(inputs=[torch.zeros(3, 8, 8)], data_samples=[BaseDataElement(metainfo=dict(img_shape=(8, 8)))])
    preprocessor.boxtype2tensor = False
    assert VALID_SHAPE not in preprocessor(data)['data_samples'][0].metainfo
    assert preprocessor(data, True)['data_samples'][0].metainfo[VALID_SHAPE] == (8, 8)
    # Data without images or annotations of their own pass.
    assert preprocessor(dict(inputs=[torch.zeros(3, 8, 8)], data_samples=None), True)['data_samples'] is None


def test_classifier_images_are_never_padded() -> None:
    from mmpretrain.structures import DataSample

    # The size of the file, before torchvision's transforms resize the image.
    samples = [DataSample(metainfo=dict(img_shape=(40, 50))) for _ in range(2)]
    assert compute_valid_ratios(torch.zeros(2, 3, 64, 64), samples) is None
    assert compute_valid_ratios(torch.zeros(2, 3, 64, 64), None) is None
    assert compute_valid_ratios([torch.zeros(2, 3, 64, 64)], samples) is None


def test_padding_counts_neither_in_ofd_nor_in_the_spectral_norms_of_a_training_step() -> None:
    model = build_distillation(ofd_distiller())
    model.init_weights()
    # With running statistics, an adapter computes each position on its own.
    model.eval()
    images, samples = classification_batch()
    for sample, size in zip(samples, ((64, 64), (32, 64), (64, 32), (32, 32))):
        sample.set_metainfo({VALID_SHAPE: size})
    losses = [_losses_with_changed_padding(model, images, samples, change) for change in (0.0, 9.0)]
    assert losses[0].keys() == {'distill.loss_lipschitz', 'distill.loss_ofd'}
    torch.testing.assert_close(losses[1], losses[0])
    for sample in samples:
        sample.set_metainfo({VALID_SHAPE: (64, 64)})
    unpadded = _losses_with_changed_padding(model, images, samples, 0.0)
    assert unpadded['distill.loss_ofd'] > losses[0]['distill.loss_ofd']


def _losses_with_changed_padding(model: nn.Module, images: Tensor, samples: list, change: float) -> dict[str, Tensor]:
    """Return the losses of the distiller after a change of all recorded maps in the padding."""

    def change_maps(taps: Any) -> Callable[..., list[Tensor]]:
        def read_maps(*arguments: Any) -> list[Tensor]:
            maps = [feature.clone() for feature in type(taps).read_maps(taps, *arguments)]
            for feature in maps:
                for image, sample in zip(feature, samples):
                    height, width = (size * feature.shape[-1] // 64 for size in sample.metainfo[VALID_SHAPE])
                    image[:, height:] += change
                    image[:, :, width:] += change
            return maps

        return read_maps

    for taps in model.distiller.network_taps.values():
        taps.read_maps = change_maps(taps)
    with torch.no_grad():
        losses = model.loss(images, samples)
    return {name: loss for name, loss in losses.items() if name.startswith('distill')}


def _norms(model: torch.nn.Module, images: Tensor, samples: list) -> Tensor:
    """The norms of student and teacher, (2, pairs, batch), as a training step computes them."""
    with torch.no_grad():
        model.loss(images, samples)
    norms = model.distiller.spectral_norms['loss_lipschitz']
    return torch.stack([norms['student'], norms['teacher']])


def test_image_has_the_same_norms_in_a_padded_batch_and_in_a_batch_of_its_own() -> None:
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
