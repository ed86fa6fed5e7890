"""From the arguments of ``train`` and ``test`` to a Runner."""

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from lckd_mm.analysis.configs import load_config
from lckd_mm.errors import ConfigValueError

# What mmengine reads from the environment.
_LAUNCHER_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
_LAUNCHER_COMMANDS = {
    'pytorch': 'torchrun or tools/dist_train.sh',
    'slurm': 'srun or tools/slurm_train.sh',
    'mpi': 'mpirun',
}
_SHARDING = ('FSDPStrategy', 'DeepSpeedStrategy', 'ColossalAIStrategy')


def load_runner_config(args: argparse.Namespace) -> Config:
    """Read the config that the arguments name, and apply the arguments to it.

    Args:
        args (Namespace): Values of :func:`lckd_mm.cli.parser.add_runner_arguments`.

    Returns:
        Config: The config.
    """
    check_launcher(args.launcher)
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
    if 'runner_type' in cfg:
        check_strategy(cfg)
        if cfg.get('env_cfg') is None:
            # FlexibleRunner does not use its own default in place of None.
            cfg.env_cfg = dict(dist_cfg=dict(backend='nccl'))
    with short_console():
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.logger.info(
        f'The environment, the config and the order of the hooks are in the log file in {runner.log_dir}.'
    )
    return runner


@contextmanager
def short_console() -> Iterator[None]:
    """Write messages of several lines, such as the config, to the log file only.

    Example:
        >>> with short_console():
        ...     pass
    """
    original = MMLogger.callHandlers

    def call_handlers(self: MMLogger, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or '\n' not in record.getMessage().strip():
            original(self, record)
            return
        for handler in self.handlers:
            if isinstance(handler, logging.FileHandler) and record.levelno >= handler.level:
                handler.handle(record)

    # A Runner makes its logger and logs the config in its constructor.
    MMLogger.callHandlers = call_handlers
    try:
        yield
    finally:
        MMLogger.callHandlers = original


def check_launcher(launcher: str) -> None:
    """Reject a launcher that has not started this process.

    Args:
        launcher (str): Value of ``--launcher``.

    Raises:
        ConfigValueError: A variable that it sets is missing.

    Example:
        >>> check_launcher('none')
    """
    missing = [name for name in _LAUNCHER_VARIABLES.get(launcher, ()) if name not in os.environ]
    if missing:
        raise ConfigValueError(
            f'--launcher {launcher}: this process was not started by it, since {" and ".join(missing)} are not in the environment; start '
            f'it with {_LAUNCHER_COMMANDS[launcher]}, or use --launcher none.'
        )


def check_strategy(cfg: Config) -> None:
    """Reject a strategy that divides the layers of a distillation among the processes.

    Args:
        cfg (Config): The config.

    Raises:
        ConfigValueError: The losses of the distiller would read parts of layers.

    Example:
        >>> check_strategy(Config(dict(model=dict(distiller=dict()), strategy=dict(type='DDPStrategy'))))
    """
    kind = (cfg.get('strategy') or {}).get('type')
    name = str(getattr(kind, '__name__', kind)).rpartition('.')[2]
    if name in _SHARDING and 'distiller' in (cfg.get('model') or {}):
        raise ConfigValueError(
            f'strategy.type={name!r} divides the parameters among the processes, but a distillation reads whole layers, and its teacher is '
            "no part of the model: use 'DDPStrategy' or 'SingleDeviceStrategy', with --amp if memory is scarce."
        )
