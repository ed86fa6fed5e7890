"""A training in which data, model and evaluation draw random numbers from all generators."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

from lckd_mm.cli.hooks import ADDED_HOOKS

# The hooks with which a resumed training is bit-identical to an uninterrupted one.
EXACT_RESUME = ('iteration_seed', 'accumulated_gradients', 'module_attributes', 'resume_point')


class NoisyData(torch.utils.data.Dataset):
    """Ten samples with noise.

    Args:
        mixes (bool): Whether the previous sample, which the data set remembers as CachedMosaic does, is mixed in.
    """

    metainfo = {'classes': ('a',)}

    def __init__(self, mixes: bool) -> None:
        self.mixes, self.previous = mixes, torch.zeros(4)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        noise = torch.tensor([random.random(), np.random.rand(), torch.rand(()).item(), index / 10])
        mixed, self.previous = (noise + self.previous if self.mixes else noise), noise
        return dict(inputs=mixed, labels=noise[3:])


class NoisyModel(BaseModel):
    """Two layers with batch normalization and dropout."""

    def __init__(self) -> None:
        super().__init__()
        # Drawn anew every third iteration, as the image size of YOLOX.
        self.scale, self.num_steps = 1.0, 0
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, inputs: list, labels: list, mode: str = 'tensor') -> Any:
        if mode == 'loss':
            self.scale = random.random() if self.num_steps % 3 == 0 else self.scale
            self.num_steps += 1
        output = self.layers(self.scale * torch.stack(inputs))
        return dict(loss=(output - torch.stack(labels)).square().mean()) if mode == 'loss' else list(output)


class NoisyMetric(BaseMetric):
    """The mean prediction with noise."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(sample) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(score=sum(results) + torch.rand(()).item() + random.random() + np.random.rand())


def train_noisy_model(work_dir: Path, workers: int = 0, hooks: tuple = EXACT_RESUME, **options: Any) -> None:
    """Train for 3 epochs with 5 iterations each, or for `train_cfg`; `options` replace the Runner's arguments."""
    by_epoch = options.get('train_cfg', {}).get('by_epoch', True)
    loader = dict(
        dataset=NoisyData(mixes=workers > 0 or not by_epoch), batch_size=2, num_workers=workers, persistent_workers=workers > 0,
        collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True),
    )  # fmt: skip
    defaults = dict(
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=3),
        val_dataloader=dict(
            dataset=NoisyData(mixes=False), batch_size=2, collate_fn=loader['collate_fn'],
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        val_cfg=dict(),
        val_evaluator=dict(type=NoisyMetric),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=dict(type='CosineAnnealingLR', T_max=15, by_epoch=False),
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
        randomness=dict(seed=0),
        default_scope='mmrazor',
        # mmengine has one logger and one message hub for each name in a process.
        experiment_name=str(work_dir).replace('/', '_'),
    )  # fmt: skip
    default_hooks = dict(
        logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=by_epoch),
        checkpoint=dict(type='CheckpointHook', save_best='score', rule='greater', by_epoch=by_epoch, interval=1 if by_epoch else 4),
        **{name: dict(type=f'mmrazor.{ADDED_HOOKS[name]}') for name in hooks},
    )  # fmt: skip
    default_hooks.update(options.pop('default_hooks', {}))
    # The Runner seeds after the model is built.
    torch.manual_seed(0)
    runner = Runner(NoisyModel(), str(work_dir), **{**defaults, **options}, default_hooks=default_hooks)
    runner.train()
    # End the workers: the garbage collector would first close their queues, and then wait 5 s for each worker.
    runner.train_loop.dataloader._iterator = runner.train_loop.dataloader_iterator = None
