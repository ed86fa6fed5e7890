"""A Runner that trains the small classifiers of :mod:`tests.helpers.small_classifiers` for a few steps."""

from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor, nn


class RandomImages(torch.utils.data.Dataset):
    """Eight random images of 32 x 32 pixels with labels of three classes."""

    metainfo = {'classes': ('a', 'b', 'c')}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor | DataSample]:
        image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        return dict(inputs=image, data_samples=DataSample().set_gt_label(index % 3))


def toy_runner(model: nn.Module | dict, work_dir: Path, **options: Any) -> Runner:
    """Return a Runner with training and validation on random images; ``options`` replace its arguments."""
    loader = dict(dataset=RandomImages(), batch_size=4, sampler=dict(type='DefaultSampler', shuffle=False))
    defaults = dict(
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
        val_dataloader=dict(loader),
        val_cfg=dict(),
        val_evaluator=dict(type='mmpretrain.Accuracy', topk=(1,)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.01)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=0),
        # mmengine has one logger and one message hub for each name in a process.
        experiment_name=str(work_dir).replace('/', '_'),
        default_scope='mmrazor',
    )
    return Runner(model, str(work_dir), **{**defaults, **options})
