"""What `tools/train.py` and `tools/test.py` have in common: their shared arguments, and the config these make."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

import torch
from mmengine.config import Config, DictAction
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, RUNNERS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from .compat import load_data


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that both tools take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='a path, or a config of an installed package: lckd_mm::voc/lckd_faster_rcnn.py')
    parser.add_argument('--work-dir', help='where logs and results go; by default ./work_dirs/<name of the config>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides of the config: key=value, a.b=value, list=[a,b] or list=a,b, dict="{\'a\':1}"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes --local_rank or, since torch 2.0, --local-rank; torchrun sets LOCAL_RANK.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser


def load_config(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Config:
    """The config that `args` names, with the overrides of the shared arguments."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    try:
        cfg = get_config(args.config) if '::' in args.config else Config.fromfile(args.config)
    except FileNotFoundError as error:
        parser.error(
            f'config {args.config!r} does not lead to a file ({error}): '
            'give a path, or package::path below the configs of an installed package'
        )
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config.rpartition('::')[2]).stem)
    return cfg


def check_data(cfg: Config, *loaders: str) -> None:
    """Exit with one sentence where a data set that the loaders read is not there.

    mmengine would say so too, but only of the first missing file and not how to get it; a config's `data_help` does.
    """
    for name in loaders:
        for dataset in _datasets(cfg.get(name) or {}):
            for path in _paths(dataset):
                if path and '://' not in path and not os.path.exists(path):
                    mend = cfg.get('data_help') or 'set data_root to where it is'
                    sys.exit(f'the data set of {name} is not there: looked for {path!r} in {os.getcwd()!r}; {mend}.')


def _paths(dataset: dict) -> List[str]:
    """Its list of annotations or, without one, the folders of its images and masks."""
    root, ann_file, prefix = dataset.get('data_root') or '', dataset.get('ann_file'), dataset.get('data_prefix') or ''
    if ann_file:
        return [os.path.join(root, ann_file)]
    folders = list(prefix.values()) if isinstance(prefix, dict) else [prefix]
    return [os.path.join(root, folder) for folder in folders if isinstance(folder, str)] or [root]


def _datasets(part: Any) -> Iterator[dict]:
    """Every data set in a data loader's config, however deeply wrapped."""
    if isinstance(part, dict):
        if isinstance(part.get('ann_file') or part.get('data_root'), str):
            yield part
        for value in part.values():
            yield from _datasets(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _datasets(value)


def to_channels_last(model: nn.Module) -> None:
    """Lay a model's maps out as (batch, height, width, channels) in memory, but for what would not survive it.

    On CPUs with AVX-512 the backward pass of torch 2.13 (oneDNN 3.12) can write beyond its memory for a 1x1 convolution with a
    stride and fewer than 16 input channels, a narrow ResNet's shortcut, in that layout.
    """
    model.to(memory_format=torch.channels_last)
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.weight.device.type == 'cpu'
            and module.kernel_size == (1, 1)
            and max(module.stride) > 1
            and module.in_channels < 16
        ):
            module.to(memory_format=torch.contiguous_format)
            module.register_forward_pre_hook(lambda _, inputs: tuple(value.contiguous() for value in inputs))


def load_distillation(config: str, checkpoint: Optional[str] = None) -> Tuple[Config, nn.Module]:
    """A distillation as its training left it, or as it begins one, in evaluation mode; for tools that look into it."""
    cfg = get_config(config) if '::' in config else Config.fromfile(config)
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    if not hasattr(model, 'distiller'):
        sys.exit(f'{config!r} is no distillation ({type(model).__name__}): name a config of configs/*/lckd_*.py, say.')
    model.init_weights()
    if checkpoint is not None:
        model.load_state_dict(load_data(checkpoint)['state_dict'])
    return cfg, model.eval()


def build_runner(cfg: Config) -> Runner:
    """The runner that the config asks for; mmengine's own by default."""
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
