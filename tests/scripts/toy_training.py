"""Trains a linear model for two epochs with mmengine's Runner; with or without lckd_mm's mends, which it loads alone.

Usage: toy_training.py {plain,mended} WORK_DIR [--resume CHECKPOINT] [--launcher pytorch]
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner


def load_compat():
    """compat.py by itself: importing lckd_mm would apply every mend."""
    path = Path(__file__).parents[2] / 'lckd_mm' / 'compat.py'
    spec = importlib.util.spec_from_file_location('compat', path)
    compat = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compat)
    return compat


class ToyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs, labels=None, mode='tensor'):
        return {'loss': (self.linear(torch.stack(inputs)) - torch.stack(labels)).square().mean()}


class ToyData(torch.utils.data.Dataset):
    metainfo = {'classes': ('a',), 'palette': np.array([[1, 2, 3]])}

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {'inputs': torch.tensor([index, 1.0]) / 8, 'labels': torch.tensor([index / 4])}


def make_runner(work_dir, **kwargs):
    torch.manual_seed(0)
    return Runner(
        ToyModel(),
        str(work_dir),
        train_dataloader={
            'dataset': ToyData(),
            'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'collate_fn': {'type': 'pseudo_collate'},
        },
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': 1}},
        randomness={'seed': 0},
        experiment_name=f'{Path(work_dir).name}_{len(kwargs)}',
        **kwargs,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('mends', choices=['plain', 'mended'])
    parser.add_argument('work_dir')
    parser.add_argument('--resume')
    parser.add_argument('--launcher', default='none')
    args = parser.parse_args()
    compat = load_compat()
    # Without this one, mmengine's Runner does not even start on some machines.
    compat.mend_torchvision_without_ops()
    if args.mends == 'mended':
        compat.mend_checkpoints()
        compat.mend_resumed_histories()
        compat.mend_distributed_without_gpu()
    runner = make_runner(
        args.work_dir, launcher=args.launcher, resume=args.resume is not None, load_from=args.resume or None
    )
    runner.train()
    print('trained to epoch', runner.epoch, 'in', runner.world_size)


if __name__ == '__main__':
    main()
