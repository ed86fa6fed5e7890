"""Small distillations of a detector, a segmentor and a classifier, in which everything that a resumed training must restore changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Random weights suffice: the teacher's are the same in each process with the same seed.
_TEACHER = 'model = dict(teacher_ckpt=None, allow_random_teacher=True)\n'
_HOOKS = """custom_hooks = [dict(type='EMAHook', momentum=0.1)]
default_hooks = dict(
    logger=dict(interval=1), lipschitz_monitor=dict(interval=1),
    lipschitz_balance=dict(measure={measure!r}, measure_interval=3),
    checkpoint=dict(by_epoch={by_epoch}, interval={interval}, max_keep_ckpts=3),
)
"""
_FLIP = """train_dataloader = dict(
    batch_size=2, num_workers={workers}, persistent_workers={persistent}, sampler=dict(type={sampler!r}),
    dataset=dict(data_root={data!r}{further}),
)
val_dataloader = dict(dataset=dict(data_root={data!r}, indices=4))
test_dataloader = dict(dataset=dict(data_root={data!r}))
"""

MODES = ('plain', 'amp', 'accumulation', 'iterations')
"""How a training is run.

``plain``: all settings of the config; ``amp``: mixed precision and two persistent workers; ``accumulation``: gradients of three
iterations, which no epoch is divisible by, and checkpoints within the epochs; ``iterations``: a loop that counts iterations, with workers.
"""


class Codebase(NamedTuple):
    """A config of the demonstration and its data.

    Attributes:
        config: Path of the config inside ``configs/``.
        pipeline: The training pipeline with random transforms.
        folder: Folder of the images inside the data set.
    """

    config: str
    pipeline: str
    folder: str = ''


CODEBASES = {
    'detector': Codebase(
        'demo/lckd_faster_rcnn_r50_r18_digits.py',
        "[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), dict(type='Resize', scale=(96, 96)), "
        "dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]",
    ),
    'segmentor': Codebase(
        'demo/lckd_deeplabv3plus_r18w32_r18w8_digits.py',
        "[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='RandomFlip', prob=0.5), "
        "dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]",
    ),
    'classifier': Codebase(
        'demo/lckd_resnet_w16_w4_digits.py',
        "[dict(type='LoadImageFromFile'), dict(type='RandomCrop', crop_size=16, padding=1), dict(type='PackInputs')]",
        'Crops',
    ),
}


class Case(NamedTuple):
    """A training that is interrupted.

    Attributes:
        codebase: Key of ``CODEBASES``.
        mode: One of ``MODES``.
    """

    codebase: str
    mode: str

    @property
    def name(self) -> str:
        """Name of the case, ``'detector-amp'`` for example."""
        return f'{self.codebase}-{self.mode}'

    @property
    def arguments(self) -> list[str]:
        """Further arguments of ``train``."""
        return ['--amp'] if self.mode == 'amp' else []

    def config(self, data: Path) -> str:
        """Return the text of the config.

        Args:
            data (Path): The data set of :func:`lckd_mm.datasets.make_digit_scenes`.

        Returns:
            str: The text.

        Example:
            >>> Case('classifier', 'plain').config(Path('data')).splitlines()[0]
            "_base_ = 'lckd_mm::demo/lckd_resnet_w16_w4_digits.py'"
        """
        codebase = CODEBASES[self.codebase]
        by_iterations, accumulates = self.mode == 'iterations', self.mode == 'accumulation'
        workers = 2 if self.mode in ('amp', 'iterations') else 0
        root = str(data / codebase.folder) + '/'
        # The classifier has several crops of each image.
        further = ', indices=10' if self.codebase == 'classifier' else ''
        text = f'_base_ = {"lckd_mm::" + codebase.config!r}\n' + _TEACHER
        text += _HOOKS.format(
            measure='gradient' if self.mode == 'plain' else 'loss',
            by_epoch=not (by_iterations or accumulates),
            interval=4 if by_iterations else 3 if accumulates else 1,
        )
        text += f'train_pipeline = {codebase.pipeline}\n'
        text += _FLIP.format(
            workers=workers,
            persistent=workers > 0,
            sampler='InfiniteSampler' if by_iterations else 'DefaultSampler',
            data=root,
            further=further + ', pipeline=train_pipeline',
        )
        if by_iterations:
            text += "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=15, val_interval=5)\n"
            text += 'log_processor = dict(by_epoch=False)\n'
            text += 'default_hooks["logger"]["log_metric_by_epoch"] = False\n'
        else:
            text += 'train_cfg = dict(max_epochs=3)\n'
        if accumulates:
            text += 'optim_wrapper = dict(accumulative_counts=3)\n'
        return text


def all_cases() -> Iterator[Case]:
    """Yield all cases.

    Example:
        >>> len(list(all_cases()))
        12
    """
    for codebase in CODEBASES:
        for mode in MODES:
            yield Case(codebase, mode)
