"""Data that are not as they should be: said by the name of the file, or harmless to the Lipschitz term."""

import shutil
from pathlib import Path
from typing import Any, Callable, List

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from .conftest import SMALL
from .test_configs import _batch, _build, _load, _nothing_is_downloaded  # noqa: F401

DETECTOR, SEGMENTOR = 'configs/demo/faster_rcnn_r18_digits.py', 'configs/demo/deeplabv3plus_r18w8_digits.py'
ONE_EPOCH = ('train_cfg.max_epochs=1', 'train_dataloader.batch_size=4', 'default_hooks.logger.interval=1')


@pytest.fixture
def spoiled(scenes: Path, tmp_path: Path) -> Path:
    """A copy of the demonstration set, to be spoiled."""
    return Path(shutil.copytree(scenes, tmp_path / 'spoiled'))


def _first(data: Path, kind: str = 'Main') -> str:
    return (data / 'ImageSets' / kind / 'train.txt').read_text().split()[0]


def _train(tool: Callable, data: Path, config: str, *options: str) -> str:
    loaders = [f'{split}_dataloader.dataset.data_root={data}/' for split in ('train', 'val', 'test')]
    work_dir = data.parent / 'work'
    done = tool('tools/train.py', config, '--work-dir', work_dir, options=(*options, *loaders), ok=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.slow
def test_an_image_that_a_worker_cannot_read_is_named(tool: Callable, spoiled: Path) -> None:
    image = spoiled / 'JPEGImages' / f'{_first(spoiled)}.jpg'
    image.write_bytes(b'')
    last = _train(tool, spoiled, DETECTOR, *ONE_EPOCH, 'train_dataloader.num_workers=1').strip().splitlines()[-1]
    assert f'{image.name}' in last
    assert 'cannot be prepared' in last
    assert 'replace the file, or take it out of the list' in last


@pytest.mark.slow
def test_a_box_without_area_is_said_before_the_first_step(tool: Callable, spoiled: Path) -> None:
    annotation = spoiled / 'Annotations' / f'{_first(spoiled)}.xml'
    text = annotation.read_text()
    for name, value in (('xmin', 20), ('ymin', 20), ('xmax', 20), ('ymax', 31)):
        before, _, rest = text.partition(f'<{name}>')
        text = f'{before}<{name}>{value}</{name}>{rest.partition(f"</{name}>")[2]}'
    annotation.write_text(text)
    log = _train(tool, spoiled, DETECTOR, *ONE_EPOCH)
    assert f'{annotation.stem}.jpg' in log.splitlines()[-1]
    assert 'a box without area' in log.splitlines()[-1]
    assert 'Epoch(train)' not in log


@pytest.mark.slow
def test_a_class_too_many_in_a_mask_is_said_before_its_step(tool: Callable, spoiled: Path) -> None:
    for name in (spoiled / 'ImageSets' / 'Segmentation' / 'train.txt').read_text().split():
        cv2.imwrite(str(spoiled / 'SegmentationClass' / f'{name}.png'), np.full((160, 160), 11, np.uint8))
    last = _train(tool, spoiled, SEGMENTOR, *ONE_EPOCH).splitlines()[-1]
    assert 'SegmentationClass' in last
    assert 'the label 11, but the labels of its data set are 0 to 1, and 255 for what is ignored' in last


@pytest.mark.slow
def test_what_was_trained_before_a_bad_image_is_kept(tool: Callable, scenes: Path, tmp_path: Path) -> None:
    """An image that goes bad between two epochs: the checkpoint of the first is there, whole, and is resumed from."""
    data = Path(shutil.copytree(scenes, tmp_path / 'data'))
    loaders = [f'{split}_dataloader.dataset.data_root={data}/' for split in ('train', 'val', 'test')]
    arguments = ('tools/train.py', DETECTOR, '--work-dir', tmp_path / 'work')
    tool(*arguments, options=(*SMALL[:-1], 'train_cfg.max_epochs=1', *loaders))
    image = data / 'JPEGImages' / f'{_first(data)}.jpg'
    kept = image.read_bytes()
    image.write_bytes(kept[:100])
    done = tool(*arguments, '--resume', options=(*SMALL[:-1], *loaders), ok=False)
    assert done.returncode != 0
    assert image.name in (done.stdout + done.stderr).splitlines()[-1]
    assert torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=True)['meta']['iter'] == 3
    image.write_bytes(kept)
    tool(*arguments, '--resume', options=(*SMALL[:-1], *loaders))
    assert torch.load(tmp_path / 'work' / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 6


def _all_ignored(images: torch.Tensor, samples: List[Any]) -> torch.Tensor:
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.full((1, *images.shape[2:]), 255))
    return images


def _no_objects(images: torch.Tensor, samples: List[Any]) -> torch.Tensor:
    for sample in samples:
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    return images


def _no_object_in_one(images: torch.Tensor, samples: List[Any]) -> torch.Tensor:
    _no_objects(images, samples[:1])
    return images


def _boxes_over_the_border(images: torch.Tensor, samples: List[Any]) -> torch.Tensor:
    for sample in samples:
        sample.gt_instances.bboxes += 40
    return images


def _blank(images: torch.Tensor, samples: List[Any]) -> torch.Tensor:
    return torch.zeros_like(images)


def _half_cut_off(images: torch.Tensor, samples: List[Any]) -> torch.Tensor:
    """What OpenCV makes of a JPEG file that ends too early."""
    images[:, :, images.shape[2] // 2 :] = 0.0
    return images


DETECTORS = ('demo/lckd_faster_rcnn_digits.py', 'bccd/lckd_ofd_ssd300_bccd.py', 'coco/lckd_fcos_r50_r18_coco.py')
SEGMENTORS = ('demo/lckd_deeplabv3plus_digits.py', 'camvid/lckd_ofd_camvid.py')
CASES = [
    *((name, spoil) for name in DETECTORS for spoil in (_no_objects, _no_object_in_one, _boxes_over_the_border)),
    *((name, spoil) for name in SEGMENTORS for spoil in (_all_ignored,)),
    *((name, spoil) for name in (DETECTORS[0], SEGMENTORS[0]) for spoil in (_blank, _half_cut_off)),
    *(('demo/lckd_resnet_digits.py', spoil) for spoil in (_blank, _half_cut_off)),
]


@pytest.mark.parametrize(('name', 'spoil'), CASES, ids=lambda value: getattr(value, '__name__', value))
def test_the_lipschitz_term_stays_finite(name: str, spoil: Callable) -> None:
    cfg = _load(name)
    model = _build(cfg)
    model.init_weights()
    model.train()
    images, samples = _batch(cfg, model)
    images = spoil(images, samples)
    losses = model(images, samples, mode='loss')
    assert losses['distill.loss_lipschitz'].isfinite()
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
