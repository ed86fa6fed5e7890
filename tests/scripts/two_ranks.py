"""Train small distillations whose ranks disagree, or that leave parameters without a gradient.

Usage: torchrun --nproc_per_node=2 two_ranks.py WORK_DIR [SCENARIO ...]

Each rank writes what it has seen in all scenarios to WORK_DIR/rank<RANK>.json.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn

RANK = int(os.environ.get('RANK', '0'))
NUM_ITERS = 2


class Images(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 8 * NUM_ITERS

    def __getitem__(self, index: int) -> dict:
        image = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(index))
        return dict(inputs=image, data_samples=DataSample().set_gt_label(index % 3))


class Recorder(Hook):
    """Records the names of the losses and the loss weight of each iteration, and the head before training."""

    # After the hooks that set the weight.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.iterations: list[dict[str, Any]] = []

    def before_train(self, runner: Runner) -> None:
        self.head = runner.model.module.student.head.fc.weight.detach().clone()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        weight = float(runner.model.module.distiller.distill_losses.loss_lipschitz.loss_weight)
        self.iterations.append(dict(losses=sorted(outputs), weight=weight))


class InvalidLossOnOneRank(Hook):
    """Lets the second rank report a loss that is not finite in the second iteration."""

    priority = 'VERY_HIGH'

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if RANK == 1 and runner.iter == 1:
            outputs['loss'] = outputs['loss'] * torch.nan


class NoGradientOnOneRank(Hook):
    """Lets the loss of the student on the second rank have no gradient in the second iteration, as without any object."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        def detach(model: nn.Module, inputs: Any, losses: Any) -> Any:
            if RANK == 1 and runner.iter == 1:
                return {name: value.detach() if name.startswith('student') else value for name, value in losses.items()}
            return losses

        runner.model.module.register_forward_hook(detach)


SCENARIOS: dict[str, dict[str, Any]] = {
    'stop': dict(hooks=[dict(type='mmrazor.StopDistillHook', stop_epoch=1)], max_epochs=2),
    'plain': dict(max_epochs=2),
    'compile': dict(max_epochs=2, options=dict(compile=dict(backend='aot_eager'))),
    'no_student_loss': dict(model=dict(calculate_student_loss=False)),
    'invalid_loss': dict(
        hooks=[InvalidLossOnOneRank(), dict(type='mmrazor.LipschitzBalanceHook', interval=1)], max_epochs=2
    ),
    'no_gradient': dict(
        hooks=[
            NoGradientOnOneRank(),
            dict(type='mmrazor.LipschitzBalanceHook', measure='gradient', measure_interval=1),
        ],
        max_epochs=2,
        options=dict(find_unused_parameters=True),
    ),
}


def classifier(depth: int, channels: int) -> dict:
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ResNet', depth=depth, base_channels=4, stem_channels=4, norm_cfg=dict(type='SyncBN')),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=channels),
        data_preprocessor=dict(type='ClsDataPreprocessor'),
    )


def train(name: str, work_dir: Path, hooks: list, max_epochs: int, model: dict, options: dict) -> dict[str, Any]:
    distiller = dict(
        type='LipschitzDistiller',
        taps=[f'backbone.layer{i}' for i in (1, 2, 3, 4)],
        losses=dict(lipschitz=dict(distance='relative')),
    )
    networks = dict(architecture=classifier(18, 32), teacher=classifier(50, 128), allow_random_teacher=True)
    loader = dict(
        dataset=Images(),
        batch_size=4,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    optimizer = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.1)
    cfg = dict(
        model=dict(type='mmrazor.LipschitzDistill', _scope_='mmrazor', distiller=distiller, **networks, **model),
        work_dir=str(work_dir / name),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=optimizer),
        randomness=dict(seed=0),
        launcher='pytorch',
        # A rank that waits for the other fails.
        env_cfg=dict(dist_cfg=dict(backend='gloo', timeout=60)),
        default_scope='mmpretrain',
        experiment_name=name,
    )
    runner = Runner(**cfg, cfg=dict(options))
    recorder = Recorder()
    for hook in (*hooks, recorder):
        runner.register_hook(hook)
    student = runner.train().module.student
    return dict(
        iterations=recorder.iterations,
        is_head_unchanged=torch.equal(student.head.fc.weight, recorder.head),
        weights=[float(parameter.detach().double().sum()) for parameter in student.parameters()],
    )


def main() -> None:
    work_dir = Path(sys.argv[1])
    results = {}
    for name in sys.argv[2:] or SCENARIOS:
        scenario = {**dict(hooks=[], max_epochs=1, model={}, options={}), **SCENARIOS[name]}
        results[name] = train(name, work_dir, **scenario)
    (work_dir / f'rank{RANK}.json').write_text(json.dumps(results))


if __name__ == '__main__':
    main()
