"""What ends a training early: signals and a full disk. Each is reported in one sentence."""

import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.popen_fork import Popen
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from types import FrameType
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from lckd_mm.atomic_files import is_full_disk, write_sentence
from lckd_mm.errors import ConfigError, FileWriteError
from lckd_mm.latest_checkpoint import find_latest_checkpoint


@contextmanager
def reported_end(runner: Runner) -> Iterator[None]:
    """Report an interrupt (Ctrl-C), SIGTERM or a full disk in a block that trains.

    Args:
        runner (Runner): The runner of the training.

    Raises:
        SystemExit: After a signal, with status 130 for an interrupt and 143 for SIGTERM.
        FileWriteError: The disk is full, for a log file as well.
    """
    received: list[int] = []
    runner.register_hook(_InterruptionHook(received), priority='VERY_HIGH')
    with _handled_signals(received), _full_disk_ends_logging():
        try:
            yield
        except BaseException as error:
            if received:
                _release_frames(error)
                # A signal that is sent to all processes also ends the workers, which is an error of the data loader.
                if is_main_process():
                    print(f'\n{interruption_sentence(runner, received[0])}', file=sys.stderr)
                raise SystemExit(128 + received[0]) from None
            if is_full_disk(error) and not isinstance(error, ConfigError):
                raise FileWriteError(write_sentence(runner.work_dir, error)) from error
            raise


class _InterruptionHook(Hook):
    """Raises an interrupt at the next batch, if there was none at the signal, or if Python has ignored it."""

    def __init__(self, received: list[int]) -> None:
        self._received = received

    def _before_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, mode: str = 'train') -> None:
        if self._received:
            _interrupt()


def _release_frames(error: BaseException) -> None:
    """Delete the objects of an interrupted call, without a report on those whose constructor was interrupted.

    The destructor of torch's iterator over worker processes fails if its constructor has not finished.
    """
    previous = sys.unraisablehook
    sys.unraisablehook = lambda *_: None
    try:
        traceback.clear_frames(error.__traceback__)
        gc.collect()
    finally:
        sys.unraisablehook = previous


def interruption_sentence(runner: Any, number: int) -> str:
    """Return the sentence after a signal.

    Args:
        runner (Runner): The runner of the training.
        number (int): The signal.

    Returns:
        str: The iteration, the checkpoint and what continues the training.
    """
    checkpoint = find_latest_checkpoint(runner.work_dir, is_logged=False)
    start = f'The training was interrupted at iteration {runner.iter} by {signal.Signals(number).name}'
    if checkpoint is None:
        return f'{start}; no checkpoint has been saved before, so that the training starts anew.'
    return f'{start}; the last checkpoint is {checkpoint}: the same command with --resume continues from it.'


@contextmanager
def _handled_signals(received: list[int]) -> Iterator[None]:
    """Add the first signal to a list, and raise an interrupt. Only the main thread can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # Otherwise, the next batch raises the interrupt.
        if _is_interruptible(frame):
            _interrupt()

    _PREVIOUS_HANDLERS.update({number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        with _interrupts_ignored_silently():
            yield
    finally:
        _restore_handlers()
        _PREVIOUS_HANDLERS.clear()


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


def _interrupt() -> None:
    # The launcher of the training may send another signal while it ends.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise KeyboardInterrupt


def _is_interruptible(frame: FrameType | None) -> bool:
    """Return whether an exception does no harm in a frame and in its callers."""
    # What a forked process runs is called by the function that has started it.
    while frame is not None and frame.f_code is not _START_OF_CHILD:
        if frame.f_code in _UNINTERRUPTIBLE:
            return False
        frame = frame.f_back
    return True


_PREVIOUS_HANDLERS: dict[int, Any] = {}


def _restore_handlers() -> None:
    for number, handler in _PREVIOUS_HANDLERS.items():
        signal.signal(number, handler)


# Pools end their workers with SIGTERM, those of mmdet's evaluation often when they have just started. With the handler of the training, or
# with a signal that arrives before the handler is replaced, a worker would not end, and the training would wait forever.
def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _PREVIOUS_HANDLERS)


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PREVIOUS_HANDLERS)


def _start_child() -> None:
    _restore_handlers()
    for number in signal.sigpending():
        signal.signal(number, signal.SIG_DFL)
    # A terminal sends an interrupt to the workers as well. Until a worker of torch handles it, and in all others, its traceback would be
    # printed. The training ends its workers.
    if _PREVIOUS_HANDLERS and not _is_interruptible(sys._getframe()):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _unblock_signals()


# Each takes some milliseconds at most. Python ignores exceptions in the functions of a fork: the child would start with signals that are
# not blocked, or the functions that other modules have registered would not be finished. An exception between the acquisition of a queue's
# lock and the block that releases it would leave the queue locked: the end of the workers, which are told by another object, would wait
# forever.
_START_OF_CHILD = BaseProcess._bootstrap.__code__  # type: ignore[attr-defined]
_UNINTERRUPTIBLE = {
    each.__code__
    for each in (Popen._launch, _block_signals, _unblock_signals, Queue.put)  # type: ignore[attr-defined]
}

os.register_at_fork(before=_block_signals, after_in_parent=_unblock_signals, after_in_child=_start_child)


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
