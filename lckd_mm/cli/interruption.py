"""What ends a training early: signals and a full disk. Each is reported in one sentence."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from lckd_mm.atomic_files import is_full_disk, write_sentence
from lckd_mm.errors import CheckpointError, ConfigError, FileWriteError
from lckd_mm.latest_checkpoint import find_latest_checkpoint

from .signals import handled_signals, interrupt, release_frames


@contextmanager
def reported_end(runner: Runner) -> Iterator[None]:
    """Report an interrupt (Ctrl-C), SIGTERM or a full disk in a block that trains.

    Args:
        runner (Runner): The runner of the training.

    Raises:
        SystemExit: After a signal, with status 130 for an interrupt and 143 for SIGTERM.
        FileWriteError: The disk is full, for a log file as well.
    """
    with (
        handled_signals(signal.SIGINT, signal.SIGTERM) as received,
        _interrupts_ignored_silently(),
        _full_disk_ends_logging(),
    ):
        runner.register_hook(_InterruptionHook(received), priority='VERY_HIGH')
        try:
            yield
        except BaseException as error:
            if received:
                release_frames(error)
                # A signal that is sent to all processes also ends the workers, which is an error of the data loader.
                if is_main_process():
                    print(f'\n{interruption_sentence(runner, received[0])}', file=sys.stderr)
                raise SystemExit(128 + received[0]) from None
            if is_full_disk(error) and not isinstance(error, ConfigError):
                raise FileWriteError(write_sentence(runner.work_dir, error)) from error
            raise


class _InterruptionHook(Hook):
    """Raises an interrupt at the next batch, if Python has ignored that of the signal, as it does in destructors."""

    def __init__(self, received: list[int]) -> None:
        self._received = received

    def _before_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, mode: str = 'train') -> None:
        if self._received:
            interrupt()


def interruption_sentence(runner: Any, number: int) -> str:
    """Return the sentence after a signal.

    Args:
        runner (Runner): The runner of the training.
        number (int): The signal.

    Returns:
        str: The iteration, the checkpoint and what continues the training.
    """
    checkpoint = None
    # Checkpoints of an earlier training that cannot be read have not been replaced yet.
    with suppress(CheckpointError):
        checkpoint = find_latest_checkpoint(runner.work_dir, is_logged=False)
    start = f'The training was interrupted at iteration {runner.iter} by {signal.Signals(number).name}'
    if checkpoint is None:
        return f'{start}; no checkpoint has been saved before, so that the training starts anew.'
    return f'{start}; the last checkpoint is {checkpoint}: the same command with --resume continues from it.'


@contextmanager
def _interrupts_ignored_silently() -> Iterator[None]:
    """Do not print an interrupt that Python ignores, which it does in destructors. The next batch raises another one."""
    previous = sys.unraisablehook

    def report(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            previous(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = previous


@contextmanager
def _full_disk_ends_logging() -> Iterator[None]:
    """Raise an error when a log file cannot be extended, instead of a traceback for each further message."""
    original = logging.FileHandler.handleError

    def handle_error(self: logging.FileHandler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if error is not None and is_full_disk(error):
            raise FileWriteError(write_sentence(self.baseFilename, error)) from error
        original(self, record)

    logging.FileHandler.handleError = handle_error  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        logging.FileHandler.handleError = original  # type: ignore[method-assign]
