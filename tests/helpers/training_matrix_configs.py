"""Configs of the training matrix: small distillations of a detector, a segmentor and a classifier, and their forms of training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from .tools import ROOT, data_options

BATCH_SIZE = 4
DEMO = ROOT / 'configs' / 'demo'
# A distillation, and its teacher.
TASKS = {
    'detector': ('lckd_faster_rcnn_r50_r18_digits.py', 'faster_rcnn_r50_digits.py'),
    'segmentor': ('lckd_deeplabv3plus_r18w32_r18w8_digits.py', 'deeplabv3plus_r18w32_digits.py'),
    'classifier': ('lckd_resnet_w16_w4_digits.py', 'resnet_w16_digits.py'),
}


@dataclass(frozen=True)
class Column:
    """A form of training.

    Args:
        edit (Callable[[Config], None]): Changes the plain config.
        arguments (tuple[str, ...]): Further arguments of ``tools/train.py``.
        bound (float): Largest deviation of a loss from the reference, relative to it; 0 if they are equal bit by bit.
        reference (str): The column that gives the losses to be reached.
        repeats (int): Iterations for each iteration of the reference.
        processes (int): Number of processes.
        needs_gpu (bool): Whether it exists on a GPU only.
    """

    edit: Callable[[Config], Any] = lambda cfg: None
    arguments: tuple[str, ...] = ()
    bound: float = 0.0
    reference: str = 'plain'
    repeats: int = 1
    processes: int = 1
    needs_gpu: bool = False


def _iteration_based(cfg: Config) -> None:
    num_iters = 6
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=num_iters, val_interval=num_iters)
    cfg.train_dataloader.sampler.type = 'InfiniteSampler'
    cfg.log_processor = dict(by_epoch=False)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=num_iters)


def _accumulate(cfg: Config) -> None:
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.train_dataloader.sampler = dict(type='tests.helpers.training_record.RepeatedBatches', batch_size=BATCH_SIZE)


def _use_sync_bn(cfg: Config) -> None:
    _replace_norms(cfg.model.architecture, dict(type='SyncBN'))


def _use_group_norm(cfg: Config) -> None:
    """Normalize each image by itself: without a GPU, SyncBN normalizes over the images of one process."""
    _replace_norms(cfg.model.architecture, dict(type='GN', num_groups=4))
    # The adapters have BNs. PKD needs them.
    cfg.model.distiller.adapters = False
    cfg.model.distiller.losses.pop('pkd', None)
    # The checkpoint has the statistics of BNs.
    cfg.load_from = None


def _replace_norms(model: Any, norm: dict[str, Any]) -> None:
    """Replace BN everywhere in the config of a model."""
    if 'backbone' in model:
        # Some configs leave it to the default of the backbone.
        model.backbone.setdefault('norm_cfg', dict(type='BN'))
    for key, value in model.items():
        if key == 'norm_cfg' and value and value.get('type') in ('BN', 'SyncBN'):
            model[key] = dict(norm)
        elif isinstance(value, dict):
            _replace_norms(value, norm)


def _split_batch(cfg: Config) -> None:
    _use_group_norm(cfg)
    cfg.train_dataloader.batch_size = BATCH_SIZE // 2


def _add_ema(cfg: Config) -> None:
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.1, update_buffers=True))


COLUMNS = {
    'plain': Column(),
    'amp_bfloat16': Column(arguments=('--amp',), bound=0.1),
    'amp_float16': Column(
        lambda cfg: cfg.optim_wrapper.update(dtype='float16'), arguments=('--amp',), bound=0.1, needs_gpu=True
    ),
    # Each batch comes twice, so that the mean of two gradients is the gradient of the reference.
    'accumulation': Column(_accumulate, repeats=2),
    'clip_grad': Column(lambda cfg: cfg.optim_wrapper.update(clip_grad=dict(max_norm=1e6))),
    'ema': Column(_add_ema),
    # Without a GPU, SyncBN is BN.
    'sync_bn': Column(_use_sync_bn, bound=1e-3),
    'channels_last': Column(arguments=('--channels-last',), bound=1e-3),
    'with_cp': Column(lambda cfg: cfg.model.architecture.backbone.update(with_cp=True)),
    'iterations': Column(_iteration_based),
    'group_norm': Column(_use_group_norm, reference='group_norm'),
    'two_processes': Column(_split_batch, bound=1e-3, reference='group_norm', processes=2),
}


def distillation_config(
    task: str, data: Path, teacher_config: Path, teacher: Path, initial: Path | None = None
) -> Config:
    """Return the plain distillation of a task, without random numbers after the initialization.

    Args:
        task (str): One of `TASKS`.
        data (Path): The demonstration set.
        teacher_config (Path): Config of the teacher.
        teacher (Path): Checkpoint of the teacher.
        initial (Path, optional): Weights before the training. Without them, they depend on the random numbers that were drawn before, and
            on the memory format. Defaults to None.
    """
    cfg = Config.fromfile(DEMO / TASKS[task][0])
    cfg.load_from = None if initial is None else str(initial)
    if task == 'detector':
        cfg.model.architecture = _fcos(base_channels=8)
    if task == 'segmentor':
        for head in (cfg.model.architecture.decode_head, cfg.model.architecture.auxiliary_head):
            head.dropout_ratio = 0
    cfg.model.teacher = dict(cfg_path=str(teacher_config))
    cfg.model.teacher_ckpt = str(teacher)
    # The hook measures at intervals of iterations, of which accumulation has more.
    cfg.default_hooks.lipschitz_balance = None
    cfg.custom_hooks = [dict(type='tests.helpers.training_record.RecordHook')]
    _fix_images(cfg, task, data)
    return cfg


def teacher_config(task: str, data: Path) -> Config:
    """Return the config of a teacher that is trained for one epoch.

    Args:
        task (str): One of `TASKS`.
        data (Path): The demonstration set.
    """
    cfg = Config.fromfile(DEMO / TASKS[task][1])
    if task == 'detector':
        cfg.model = _fcos(base_channels=16)
    _fix_images(cfg, task, data)
    cfg.train_cfg.max_epochs = 1
    return cfg


def _fix_images(cfg: Config, task: str, data: Path) -> None:
    """Let the images come in a fixed order and without random transforms, for two epochs at a constant learning rate."""
    folder = data / 'Crops' if task == 'classifier' else data
    for option in data_options(folder):
        key, _, value = option.partition('=')
        cfg.merge_from_dict({key: value})
    if task == 'classifier':
        # The pipeline of the training crops at random. The few validation images do not show all digits.
        cfg.train_dataloader.dataset.update(pipeline=cfg.val_dataloader.dataset.pipeline, indices=list(range(0, 84, 7)))
        cfg.val_dataloader.dataset.data_prefix = 'train'
    cfg.train_dataloader.update(batch_size=BATCH_SIZE, sampler=dict(type='DefaultSampler', shuffle=False))
    cfg.train_cfg.max_epochs = 2
    cfg.param_scheduler = []
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9))
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.save_best = None


def _fcos(base_channels: int) -> ConfigDict:
    """Return an FCOS. It normalizes its losses by means over all processes and draws no samples, unlike the Faster R-CNN."""
    cfg = Config.fromfile(DEMO / TASKS['detector'][1])
    channels = [base_channels * 2**stage for stage in range(4)]
    return ConfigDict(
        type='FCOS',
        data_preprocessor=cfg.model.data_preprocessor,
        backbone=dict(type='ResNet', depth=18, base_channels=base_channels, norm_cfg=dict(type='BN'), norm_eval=False),
        neck=dict(
            type='FPN', in_channels=channels, out_channels=32, start_level=1, add_extra_convs='on_output', num_outs=5
        ),
        bbox_head=dict(type='FCOSHead', num_classes=10, in_channels=32, feat_channels=32, stacked_convs=1),
        test_cfg=dict(nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
    )
