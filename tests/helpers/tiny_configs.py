"""A config that trains in a second on random images."""

from pathlib import Path

import cv2
import numpy as np

CONFIG = """
default_scope = 'mmpretrain'
model = {model!r}
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(type='CustomDataset', data_root={root!r}, data_prefix='train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    num_workers=0,
)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(by_epoch=True, max_epochs=1)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
"""


def write_images(folder: Path) -> None:
    """Write two random images of 64 x 64 pixels for each of three classes."""
    random = np.random.default_rng(0)
    for label in ('zero', 'one', 'two'):
        (folder / 'train' / label).mkdir(parents=True)
        for index in range(2):
            image = random.integers(0, 256, (64, 64, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / 'train' / label / f'{index}.png'), image)


def write_config(folder: Path, model: dict, name: str = 'tiny.py') -> Path:
    """Write a config that trains a classifier for one epoch on the images in a folder."""
    path = folder / name
    path.write_text(CONFIG.format(model=model, root=str(folder)))
    return path
