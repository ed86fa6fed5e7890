"""Train a linear model for two epochs with mmengine's Runner, with or without the patches of lckd_mm.

Usage: toy_training.py {plain,patched} WORK_DIR [--resume CHECKPOINT] [--launcher pytorch]

Each rank writes WORK_DIR/rank<RANK>.json with the reached epoch and the number of processes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

PATCHES = (
    'mmengine_checkpoint_files',
    'mmengine_histories',
    'mmengine_cpu_process_group',
    'mmengine_cpu_data_parallel',
)


class ToyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs: list, labels: list | None = None, mode: str = 'tensor') -> dict[str, torch.Tensor]:
        return {'loss': (self.linear(torch.stack(inputs)) - torch.stack(labels)).square().mean()}


class ToyData(torch.utils.data.Dataset):
    metainfo = {'classes': ('a',), 'palette': np.array([[1, 2, 3]])}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {'inputs': torch.tensor([index, 1.0]) / 8, 'labels': torch.tensor([index / 4])}


def make_runner(work_dir: Path | str, **options: Any) -> Runner:
    """Return the Runner of the toy training; `options` replace its arguments."""
    torch.manual_seed(0)
    defaults = dict(
        train_dataloader=dict(
            dataset=ToyData(),
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=0),
        # mmengine has one logger and one message hub for each name in a process.
        experiment_name=str(work_dir).replace('/', '_'),
    )
    return Runner(ToyModel(), str(work_dir), **{**defaults, **options})


def main() -> None:
    from bare_compat import load_compat

    parser = argparse.ArgumentParser()
    parser.add_argument('patches', choices=['plain', 'patched'])
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--resume')
    parser.add_argument('--launcher', default='none')
    args = parser.parse_args()
    compat = load_compat()
    # On some machines mmengine's Runner cannot be built without it.
    compat.PATCHES['torchvision_import'].apply()
    for name in PATCHES if args.patches == 'patched' else ():
        compat.PATCHES[name].apply()
    runner = make_runner(
        args.work_dir, launcher=args.launcher, resume=args.resume is not None, load_from=args.resume or None
    )
    runner.train()
    result = dict(epoch=runner.epoch, world_size=runner.world_size)
    (args.work_dir / f'rank{runner.rank}.json').write_text(json.dumps(result), encoding='utf-8')


if __name__ == '__main__':
    main()
