"""The training of the verb ``distill``, in one or several processes."""

import argparse
import os
import subprocess
import sys
from pathlib import Path


def train_arguments(args: argparse.Namespace) -> list[str]:
    """Return the arguments that ``distill`` passes to ``train``.

    Args:
        args (Namespace): The arguments of ``distill``.

    Returns:
        list[str]: The options.
    """
    names = ('amp', 'auto_scale_lr', 'channels_last')
    return [f'--{name.replace("_", "-")}' for name in names if getattr(args, name)]


def train(config: Path, work_dir: Path, args: argparse.Namespace) -> None:
    """Train in one or several processes, whose output is that of this one.

    Args:
        config (Path): The config.
        work_dir (Path): The work directory.
        args (Namespace): The arguments of ``distill``.

    Raises:
        SystemExit: The training failed; with its exit status.
    """
    command = ['-m', 'lckd_mm', 'train', str(config), '--work-dir', str(work_dir), *train_arguments(args)]
    if args.resume is not None:
        command += ['--resume', args.resume]
    environment = dict(os.environ)
    if args.devices > 1:
        # torchrun sets one thread per process, which is too few on a CPU.
        environment.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // args.devices, 1)))
        launcher = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={args.devices}']
        command = [*launcher, *command, '--launcher', 'pytorch']
    with subprocess.Popen([sys.executable, *command], env=environment) as process:
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            raise
    if status:
        print(f'The training ended with status {status}; the same command with --resume continues it.', file=sys.stderr)
        sys.exit(status)
