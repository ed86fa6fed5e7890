"""Running the tools of the repository as a user does."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import lckd_mm

ROOT = Path(lckd_mm.__file__).parents[1]
# The demonstration at full function in a few seconds.
SMALL = (
    'train_dataloader.batch_size=4',
    'train_cfg.max_epochs=2',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.save_best=None',
    'default_hooks.checkpoint.max_keep_ckpts=5',
)
# Hooks of a distillation have these options, a plain training has not.
SMALL_DISTILLATION = (*SMALL, 'default_hooks.lipschitz_monitor.interval=1')


def data_options(folder: Path) -> list[str]:
    """Return the options that set the data folder of all data loaders."""
    return [f'{split}_dataloader.dataset.data_root={folder}/' for split in ('train', 'val', 'test')]


def free_port() -> int:
    """Return a TCP port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def run_tool(*command: Any, options: tuple = (), ok: bool = True, **environment: str) -> subprocess.CompletedProcess:
    """Run a tool from the root of the repository.

    Args:
        *command: The script and its arguments; a Python script is run by the interpreter of the tests.
        options (tuple): Values of ``--cfg-options``.
        ok (bool): Whether the exit status must be 0. Defaults to True.
        **environment: Environment variables.

    Returns:
        subprocess.CompletedProcess: Exit status and output.
    """
    full = [*map(str, command), *(['--cfg-options', *options] if options else [])]
    if full[0].endswith('.py'):
        full = [sys.executable, '-W', 'ignore', *full]
    variables = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **environment}
    done = subprocess.run(full, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert not ok or done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done
