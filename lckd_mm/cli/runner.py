"""From the arguments of ``train`` and ``test`` to a Runner."""

import argparse
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from lckd_mm.analysis.configs import load_config


def load_runner_config(args: argparse.Namespace) -> Config:
    """Read the config that the arguments name, and apply the arguments to it.

    Args:
        args (Namespace): Values of :func:`lckd_mm.cli.parser.add_runner_arguments`.

    Returns:
        Config: The config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config.rpartition('::')[2]).stem)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """Build the Runner of a config: mmengine's, or the one that ``runner_type`` names.

    Args:
        cfg (Config): The config.

    Returns:
        Runner: The Runner.
    """
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
