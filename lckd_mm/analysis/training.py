"""Trainings in processes of their own, with a log file."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lckd_mm.errors import ConfigFileNotFoundError, ConfigRuntimeError

# Replaced by tests.
TRAIN_COMMAND = (sys.executable, '-u', '-W', 'ignore', '-m', 'lckd_mm', 'train')


def run_training(
    config: str,
    work_dir: Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Train a config, or resume its training from the latest checkpoint in the work directory.

    Args:
        config (str): The config.
        work_dir (Path): The work directory; the output is appended to ``train.log`` in it.
        arguments (Sequence[str]): Further arguments of ``train``. Defaults to ().
        environment (Mapping[str, str], optional): Environment variables. Defaults to None, those of this process.
        on_line (Callable[[str], None], optional): Receives each line of the output. Defaults to None.

    Raises:
        ConfigRuntimeError: The training failed; the message contains the last line of its output and the path of the log.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    log, last_line = work_dir / 'train.log', 'no output'
    command = [*TRAIN_COMMAND, config, '--work-dir', str(work_dir), '--resume', *arguments]
    with (
        log.open('a') as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            last_line = line.strip() or last_line
            if on_line is not None:
                on_line(line)
    if process.returncode:
        raise ConfigRuntimeError(f'{last_line} (complete log: {log})')


def log_message(line: str) -> str:
    """Return the message of a line of mmengine's log; empty for other lines.

    Args:
        line (str): A line of output.

    Returns:
        str: The message with single spaces.

    Example:
        >>> log_message('11/25 10:00:00 - mmengine - INFO - Epoch(train)  [1][10/60]')
        'Epoch(train) [1][10/60]'
    """
    return ' '.join(line.partition('INFO - ')[2].split())


def last_checkpoint(work_dir: Path) -> Path:
    """Return the checkpoint that a training saved last.

    Args:
        work_dir (Path): Its work directory.

    Returns:
        Path: The checkpoint.

    Raises:
        ConfigFileNotFoundError: The training has saved no checkpoint.
    """
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        raise ConfigFileNotFoundError(
            f'{str(work_dir)!r} contains no checkpoint: train with this work directory first.'
        )
    return Path(pointer.read_text().strip())
