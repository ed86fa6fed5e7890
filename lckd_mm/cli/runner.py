"""From the arguments of ``train`` and ``test`` to a Runner."""

import argparse
import copy
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from lckd_mm.analysis.configs import load_config

# The hooks that mmengine itself registers; of these alone it accepts None in `default_hooks`.
_MMENGINE_HOOKS = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}


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

    In ``default_hooks`` None switches off any hook. The dumped config keeps the entry, so that a training from it does the same.

    Args:
        cfg (Config): The config.

    Returns:
        Runner: The Runner.
    """
    hooks = cfg.get('default_hooks') or {}
    disabled = [name for name, hook in hooks.items() if hook is None and name not in _MMENGINE_HOOKS]
    if disabled:
        cfg = copy.deepcopy(cfg)
        for name in disabled:
            del cfg.default_hooks[name]
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if disabled:
        runner.cfg.default_hooks.update(dict.fromkeys(disabled))
        runner.dump_config()
    return runner
