"""Trainings in processes of their own, with a log file."""

import fcntl
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lckd_mm.errors import CheckpointError, ConfigFileNotFoundError, ConfigRuntimeError
from lckd_mm.latest_checkpoint import find_latest_checkpoint, read_pointer

# Replaced by tests.
TRAIN_COMMAND = (sys.executable, '-u', '-W', 'ignore', '-m', 'lckd_mm', 'train')
TEST_COMMAND = (sys.executable, '-u', '-W', 'ignore', '-m', 'lckd_mm', 'test')

CORRUPTIONS_FILE = 'corruptions.jsonl'
"""The file in its work directory to which ``test --corruptions`` appends a line for each evaluation."""

LOCK_FILE = 'lock'
"""The file in a work directory that is locked while a training is running there."""

# Seconds that a process has to end after SIGTERM.
_GRACE = 10.0

_RUNNING: set['subprocess.Popen[str]'] = set()


class DeadlineError(ConfigRuntimeError):
    """A process was ended since its time was over."""


def run_training(
    config: str,
    work_dir: Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    stop_at: float | None = None,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Train a config, or resume its training from the latest checkpoint in the work directory.

    Args:
        config (str): The config.
        work_dir (Path): The work directory; the output is appended to ``train.log`` in it.
        arguments (Sequence[str]): Further arguments of ``train``. Defaults to ().
        environment (Mapping[str, str], optional): Environment variables. Defaults to None, those of this process.
        on_line (Callable[[str], None], optional): Receives each line of the output. Defaults to None.
        stop_at (float, optional): Value of ``time.monotonic()`` at which the training is ended. Defaults to None.
        prepare (Callable, optional): Is called before the training starts, while no other training can start in the work directory.
            Must not delete ``LOCK_FILE``. Defaults to None.

    Raises:
        ConfigRuntimeError: The training failed; the message contains the last line of its output and the path of the log. Or another
            training is running in the work directory.
        DeadlineError: The training was ended at ``stop_at``.
    """
    command = [*TRAIN_COMMAND, config, '--work-dir', str(work_dir), '--resume', *arguments]
    with _lock(work_dir) as descriptor:
        if prepare is not None:
            prepare()
        _run_command(command, work_dir / 'train.log', environment, on_line, stop_at, (descriptor,))


def run_test(
    config: str,
    checkpoint: Path,
    work_dir: Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    stop_at: float | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on the test data of a config.

    Args:
        config (str): The config.
        checkpoint (Path): The checkpoint.
        work_dir (Path): The work directory; the output is appended to ``test.log`` in it.
        arguments (Sequence[str]): Further arguments of ``test``. Defaults to ().
        environment (Mapping[str, str], optional): Environment variables. Defaults to None, those of this process.
        stop_at (float, optional): Value of ``time.monotonic()`` at which the evaluation is ended. Defaults to None.

    Returns:
        dict[str, Any]: The metrics.

    Raises:
        ConfigRuntimeError: The evaluation failed, or wrote no metrics.
        DeadlineError: The evaluation was ended at ``stop_at``.
    """
    command = [*TEST_COMMAND, config, str(checkpoint), '--work-dir', str(work_dir), *arguments]
    _run_command(command, work_dir / 'test.log', environment, None, stop_at)
    # mmengine's LoggerHook writes the metrics to <work_dir>/<timestamp>/<timestamp>.json.
    files = sorted(path for path in work_dir.glob('*/*.json') if path.stem == path.parent.name)
    if not files:
        raise ConfigRuntimeError(
            f'the evaluation wrote no metrics to {str(work_dir)!r}: add a LoggerHook as default_hooks.logger of {config}.'
        )
    metrics: dict[str, Any] = json.loads(files[-1].read_text())
    return metrics


def run_corrupted_test(
    config: str,
    checkpoint: Path,
    work_dir: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None,
    on_result: Callable[[dict[str, Any]], None],
    stop_at: float | None = None,
) -> None:
    """Evaluate a checkpoint on corrupted images in one process.

    Args:
        config (str): The config.
        checkpoint (Path): The checkpoint.
        work_dir (Path): The work directory; the output is appended to ``test.log`` in it.
        arguments (Sequence[str]): Further arguments of ``test``, ``--corruptions`` among them.
        environment (Mapping[str, str], optional): Environment variables; None for those of this process.
        on_result (Callable): Receives the line of each evaluation as soon as it is finished: see
            :func:`lckd_mm.analysis.corrupted_test.evaluate_corruptions`.
        stop_at (float, optional): Value of ``time.monotonic()`` at which the evaluation is ended. Defaults to None.

    Raises:
        ConfigRuntimeError: The evaluation failed.
        DeadlineError: The evaluation was ended at ``stop_at``.
    """
    path, num_read = work_dir / CORRUPTIONS_FILE, 0

    def collect(_: str) -> None:
        nonlocal num_read
        # The last part is empty, or a line that is being written.
        lines = path.read_text().split('\n')[:-1] if path.is_file() else []
        for line in lines[num_read:]:
            num_read += 1
            on_result(json.loads(line))

    command = [*TEST_COMMAND, config, str(checkpoint), '--work-dir', str(work_dir), *arguments]
    _run_command(command, work_dir / 'test.log', environment, collect, stop_at)
    collect('')


@contextmanager
def _lock(work_dir: Path) -> Iterator[int]:
    """Lock a work directory. The training inherits the lock, which it keeps if this process is killed."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with (work_dir / LOCK_FILE).open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigRuntimeError(
                f'another training is running in {str(work_dir)!r}, perhaps of a command that was killed: wait for its end, or end it.'
            ) from error
        except OSError:
            # A file system without locks.
            pass
        yield file.fileno()


def _run_command(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None,
    on_line: Callable[[str], None] | None,
    stop_at: float | None,
    descriptors: Sequence[int] = (),
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    last_line = 'no output'
    with (
        log.open('a') as file,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            pass_fds=descriptors,
        ) as process,
        _deadline(process, stop_at) as is_over,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            last_line = line.strip() or last_line
            if on_line is not None:
                on_line(line)
        process.wait()
    if process.returncode and is_over.is_set():
        raise DeadlineError(f'ended at the deadline (log: {log})')
    if process.returncode:
        raise ConfigRuntimeError(f'{last_line} (complete log: {log})')


@contextmanager
def _deadline(process: 'subprocess.Popen[str]', stop_at: float | None) -> Iterator[threading.Event]:
    """End a process at a time, first with SIGTERM, and when the block is left by an exception."""
    is_over, is_finished = threading.Event(), threading.Event()

    def watch() -> None:
        assert stop_at is not None
        if not is_finished.wait(max(stop_at - time.monotonic(), 0)):
            is_over.set()
            _terminate(process)

    _RUNNING.add(process)
    watcher = threading.Thread(target=watch, daemon=True) if stop_at is not None else None
    if watcher is not None:
        watcher.start()
    try:
        yield is_over
    except BaseException:
        _terminate(process)
        raise
    finally:
        _RUNNING.discard(process)
        is_finished.set()
        if watcher is not None:
            watcher.join()


def end_running_processes() -> None:
    """End the trainings and evaluations that threads of this process wait for."""
    for process in list(_RUNNING):
        process.terminate()


def _terminate(process: 'subprocess.Popen[str]') -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


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
        CheckpointError: No checkpoint can be read, and the file ``last_checkpoint`` names none.
    """
    # The reader of a missing or damaged file names it.
    checkpoint = read_pointer(work_dir)
    try:
        checkpoint = find_latest_checkpoint(work_dir, is_logged=False) or checkpoint
    except CheckpointError:
        if checkpoint is None:
            raise
    if checkpoint is None:
        raise ConfigFileNotFoundError(
            f'{str(work_dir)!r} contains no checkpoint: train with this work directory first.'
        )
    return Path(checkpoint)


def chosen_checkpoint(run_dir: Path) -> Path:
    """Return the best checkpoint of a training that saves one, otherwise the last one.

    Args:
        run_dir (Path): Its work directory.

    Returns:
        Path: The checkpoint.
    """
    best = sorted(run_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    return best[-1] if best else last_checkpoint(run_dir)
