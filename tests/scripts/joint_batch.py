"""Distill a small classifier for four steps of eight images, in one process or in two.

Usage: joint_batch.py WORK_DIR, or torchrun --nproc_per_node=2 joint_batch.py WORK_DIR

Each rank writes its losses and weights to WORK_DIR/rank<RANK>.pt.
"""

import os
import sys
from pathlib import Path

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample


class Images(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict:
        image = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(index))
        return dict(inputs=image, data_samples=DataSample().set_gt_label(index % 3))


class LossRecorder(Hook):
    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        self.losses.append({k: float(v) for k, v in outputs.items() if 'loss' in k})


def classifier(depth: int, channels: int) -> dict:
    # The batch statistics of BN in training mode differ between the halves and the joint batch.
    backbone = dict(type='ResNet', depth=depth, base_channels=4, stem_channels=4, norm_eval=True)
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=channels),
        data_preprocessor=dict(type='ClsDataPreprocessor'),
    )


def main() -> None:
    work_dir = Path(sys.argv[1])
    rank, world_size = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    norms = dict(recorder='taps', connector='norms')
    runner = Runner(
        dict(
            type='mmrazor.LipschitzDistill',
            _scope_='mmrazor',
            architecture=classifier(18, 32),
            teacher=classifier(50, 128),
            allow_random_teacher=True,
            distiller=dict(
                type='LipschitzDistiller',
                taps=[f'backbone.layer{i}' for i in (1, 2, 3, 4)],
                adapters=False,
                connectors=dict(norms=dict(type='SpectralNormConnector')),
                distill_losses=dict(loss_lipschitz=dict(type='LipschitzLoss', distance='relative')),
                loss_forward_mappings=dict(
                    loss_lipschitz=dict(
                        student=dict(from_student=True, **norms), teacher=dict(from_student=False, **norms)
                    )
                ),
            ),
        ),
        str(work_dir),
        train_dataloader=dict(
            dataset=Images(),
            batch_size=8 // world_size,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        randomness=dict(seed=0),
        launcher='pytorch' if world_size > 1 else 'none',
        default_scope='mmpretrain',
        experiment_name=str(work_dir).replace('/', '_'),
    )
    recorder = LossRecorder()
    runner.register_hook(recorder)
    model = runner.train()
    model = getattr(model, 'module', model)
    weights = {name: p.detach().clone() for name, p in model.student.named_parameters()}
    torch.save(dict(losses=recorder.losses, weights=weights), work_dir / f'rank{rank}.pt')


if __name__ == '__main__':
    main()
