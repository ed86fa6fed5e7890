"""One or two images for each split of the data sets that the configs of the repository read."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np

from lckd_mm.datasets import DigitSceneSettings, make_digit_scenes

SIDE = 96
BOX = (8, 8, 72, 64)
"""Left, top, right and bottom edge of the only object, in pixels."""


def write_stand_in_data(folder: Path) -> None:
    """Write ``data/`` of a project that has every data set of ``configs/``.

    Args:
        folder (Path): The folder that becomes ``data/``.
    """
    settings = DigitSceneSettings(num_train=1, num_val=1, num_test=1)
    make_digit_scenes(folder / 'digits_voc', settings, progress=False)
    _write_voc(folder / 'bccd', 'RBC')
    _write_voc(folder / 'VOCdevkit' / 'VOC2007', 'dog')
    _write_voc(folder / 'VOCdevkit' / 'VOC2012', 'dog')
    _write_coco(folder / 'coco')
    for split in ('train', 'val', 'test'):
        for name in '01':
            _write_image(folder / 'camvid' / 'img_dir' / split / f'{name}.jpg')
            _write_mask(folder / 'camvid' / 'ann_dir' / split / f'{name}.png')
        _write_image(folder / 'cityscapes' / 'leftImg8bit' / split / '0_leftImg8bit.png')
        _write_mask(folder / 'cityscapes' / 'gtFine' / split / '0_gtFine_labelTrainIds.png')
        for name in range(10):
            _write_image(folder / 'cifar10' / split / str(name) / '0.png')
        _write_image(folder / 'imagenet' / split / '0.png')
        _write(folder / 'imagenet' / 'meta' / f'{split}.txt', '0.png 0\n')
    _write_cifar100(folder / 'cifar100' / 'cifar-100-python')


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8))


def _write_mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.indices((SIDE, SIDE)).sum(0).astype(np.uint8) % 3)


def _write_voc(folder: Path, name: str) -> None:
    _write_image(folder / 'JPEGImages' / '0.jpg')
    corners = ''.join(f'<{corner}>{value}</{corner}>' for corner, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), BOX))
    size = f'<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>'
    thing = f'<object><name>{name}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>'
    _write(folder / 'Annotations' / '0.xml', f'<annotation>{size}{thing}</annotation>')
    for split in ('train', 'val', 'trainval', 'test', 'aug'):
        _write(folder / 'ImageSets' / 'Main' / f'{split}.txt', '0\n')
        _write(folder / 'ImageSets' / 'Segmentation' / f'{split}.txt', '0\n')
    for masks in ('SegmentationClass', 'SegmentationClassAug'):
        _write_mask(folder / masks / '0.png')


def _write_coco(folder: Path) -> None:
    left, top, right, bottom = BOX
    thing = dict(
        id=1, image_id=1, category_id=1, bbox=[left, top, right - left, bottom - top], iscrowd=0,
        area=(right - left) * (bottom - top), segmentation=[[left, top, right, top, right, bottom, left, bottom]],
    )  # fmt: skip
    image = dict(id=1, file_name='0.jpg', width=SIDE, height=SIDE)
    content = dict(images=[image], annotations=[thing], categories=[dict(id=1, name='person')])
    for split in ('train2017', 'val2017'):
        _write_image(folder / split / '0.jpg')
        _write(folder / 'annotations' / f'instances_{split}.json', json.dumps(content))


def _write_cifar100(folder: Path) -> None:
    folder.mkdir(parents=True)
    content = {'data': np.zeros((1, 3 * 32 * 32), np.uint8), 'fine_labels': [3]}
    for split in ('train', 'test'):
        (folder / split).write_bytes(pickle.dumps(content))
