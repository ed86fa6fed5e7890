"""Faulty data: the error names the file, or the Lipschitz loss stays finite."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from tests.helpers.configs import build_from_config, load_config, stand_in_batch
from tests.helpers.tools import ROOT, SMALL, data_options

DETECTOR, SEGMENTOR = 'configs/demo/faster_rcnn_r18_digits.py', 'configs/demo/deeplabv3plus_r18w8_digits.py'
ONE_EPOCH = ('train_cfg.max_epochs=1', 'train_dataloader.batch_size=4', 'default_hooks.logger.interval=1')


@pytest.fixture
def faulty(scenes: Path, tmp_path: Path) -> Path:
    """A copy of the demonstration set, to which a fault is added."""
    return Path(shutil.copytree(scenes, tmp_path / 'faulty'))


def _first(data: Path, kind: str = 'Main') -> str:
    return (data / 'ImageSets' / kind / 'train.txt').read_text().split()[0]


def _train(tool: Callable, data: Path, config: str, *options: str) -> str:
    loaders = data_options(data)
    work_dir = data.parent / 'work'
    done = tool('tools/train.py', config, '--work-dir', work_dir, options=(*options, *loaders), ok=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.training
def test_image_that_a_worker_cannot_read_is_named(tool: Callable, faulty: Path) -> None:
    image = faulty / 'JPEGImages' / f'{_first(faulty)}.jpg'
    image.write_bytes(b'')
    last = _train(tool, faulty, DETECTOR, *ONE_EPOCH, 'train_dataloader.num_workers=1').strip().splitlines()[-1]
    assert f'{image.name}' in last
    assert 'cannot be prepared' in last
    assert 'replace the file, or remove it from the list' in last


@pytest.mark.training
def test_box_without_area_is_reported_before_the_first_step(tool: Callable, faulty: Path) -> None:
    annotation = faulty / 'Annotations' / f'{_first(faulty)}.xml'
    text = annotation.read_text()
    for name, value in (('xmin', 20), ('ymin', 20), ('xmax', 20), ('ymax', 31)):
        before, _, rest = text.partition(f'<{name}>')
        text = f'{before}<{name}>{value}</{name}>{rest.partition(f"</{name}>")[2]}'
    annotation.write_text(text)
    log = _train(tool, faulty, DETECTOR, *ONE_EPOCH)
    assert f'{annotation.stem}.jpg' in log.splitlines()[-1]
    assert 'a box without area' in log.splitlines()[-1]
    assert 'Epoch(train)' not in log


@pytest.mark.training
def test_invalid_label_in_a_mask_is_reported_before_its_step(tool: Callable, faulty: Path) -> None:
    for name in (faulty / 'ImageSets' / 'Segmentation' / 'train.txt').read_text().split():
        cv2.imwrite(str(faulty / 'SegmentationClass' / f'{name}.png'), np.full((160, 160), 11, np.uint8))
    last = _train(tool, faulty, SEGMENTOR, *ONE_EPOCH).splitlines()[-1]
    assert 'SegmentationClass' in last
    assert 'the label 11, but the labels of its data set are 0 to 1, and 255 for ignored pixels' in last


@pytest.mark.training
def test_checkpoint_before_a_faulty_image_is_kept_and_resumed(tool: Callable, scenes: Path, tmp_path: Path) -> None:
    """An image becomes unreadable between two epochs: the checkpoint of the first is complete, and training resumes from it."""
    data = Path(shutil.copytree(scenes, tmp_path / 'data'))
    loaders = data_options(data)
    arguments = ('tools/train.py', DETECTOR, '--work-dir', tmp_path / 'work')
    tool(*arguments, options=(*SMALL, 'train_cfg.max_epochs=1', *loaders))
    image = data / 'JPEGImages' / f'{_first(data)}.jpg'
    kept = image.read_bytes()
    image.write_bytes(kept[:100])
    done = tool(*arguments, '--resume', options=(*SMALL, *loaders), ok=False)
    assert done.returncode != 0
    assert image.name in (done.stdout + done.stderr).splitlines()[-1]
    assert torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=True)['meta']['iter'] == 3
    image.write_bytes(kept)
    tool(*arguments, '--resume', options=(*SMALL, *loaders))
    assert torch.load(tmp_path / 'work' / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 6


def _all_pixels_ignored(images: torch.Tensor, samples: list[Any]) -> torch.Tensor:
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.full((1, *images.shape[2:]), 255))
    return images


def _no_objects(images: torch.Tensor, samples: list[Any]) -> torch.Tensor:
    for sample in samples:
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    return images


def _no_object_in_one(images: torch.Tensor, samples: list[Any]) -> torch.Tensor:
    _no_objects(images, samples[:1])
    return images


def _boxes_beyond_the_border(images: torch.Tensor, samples: list[Any]) -> torch.Tensor:
    for sample in samples:
        sample.gt_instances.bboxes += 40
    return images


def _blank(images: torch.Tensor, samples: list[Any]) -> torch.Tensor:
    return torch.zeros_like(images)


def _truncated(images: torch.Tensor, samples: list[Any]) -> torch.Tensor:
    """The image that OpenCV decodes from a truncated JPEG file."""
    images[:, :, images.shape[2] // 2 :] = 0.0
    return images


DETECTORS = (
    'demo/lckd_faster_rcnn_r50_r18_digits.py',
    'bccd/lipschitz_ofd_faster_rcnn_r50_r18_bccd.py',
    'bccd/lckd_ssd300_r18w32_r18w8_bccd.py',
    'coco/lckd_fcos_r50_r18_coco.py',
)
SEGMENTORS = (
    'demo/lckd_deeplabv3plus_r18w32_r18w8_digits.py',
    'camvid/lipschitz_ofd_balanced_deeplabv3plus_r18w32_r18w8_camvid.py',
)
CASES = [
    *((name, fault) for name in DETECTORS for fault in (_no_objects, _no_object_in_one, _boxes_beyond_the_border)),
    *((name, fault) for name in SEGMENTORS for fault in (_all_pixels_ignored,)),
    *((name, fault) for name in (DETECTORS[0], SEGMENTORS[0]) for fault in (_blank, _truncated)),
    *(('demo/lckd_resnet_w16_w4_digits.py', fault) for fault in (_blank, _truncated)),
]


@pytest.mark.usefixtures('no_downloads')
@pytest.mark.parametrize(('name', 'fault'), CASES, ids=lambda value: getattr(value, '__name__', value))
def test_lipschitz_loss_stays_finite(name: str, fault: Callable) -> None:
    cfg = load_config(ROOT / 'configs' / name)
    model = build_from_config(cfg)
    model.init_weights()
    model.train()
    images, samples = stand_in_batch(cfg, model)
    images = fault(images, samples)
    losses = model(images, samples, mode='loss')
    assert losses['distill.loss_lipschitz'].isfinite()
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
