"""How signals end a process and its workers."""

import functools
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from types import FrameType
from typing import Any, NoReturn


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end the processes that a block waits for, as an interrupt does. Only the main thread can handle signals.

    Example:
        >>> with terminated_like_interrupted():
        ...     pass
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def handled_signals(*numbers: int) -> Iterator[list[int]]:
    """Raise an interrupt at a signal, but not while a process is started. Only the main thread can handle signals.

    Python's own handler raises it there as well. Python then ignores it, and prints its traceback, or a queue stays locked. Workers ignore
    interrupts, which a terminal sends to all processes: the process that has started them ends them. An interrupt is handled even if the
    process has been started with interrupts ignored, as shells start processes in the background.

    Args:
        numbers (int): The signals.

    Yields:
        list[int]: The signals that have been received.

    Example:
        >>> with handled_signals(signal.SIGINT) as received:
        ...     try:
        ...         signal.raise_signal(signal.SIGINT)
        ...     except KeyboardInterrupt:
        ...         received == [signal.SIGINT]
        True
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if _is_interruptible(frame):
            interrupt()

    previous = {number: signal.signal(number, handle) for number in numbers}
    # Those of an outer block are not the handlers of a child.
    added = {number: handler for number, handler in previous.items() if number not in _ORIGINAL_HANDLERS}
    _ORIGINAL_HANDLERS.update(added)
    try:
        with _deferring(BaseProcess, 'start', received), _deferring(Queue, 'put', received):
            yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in added:
            del _ORIGINAL_HANDLERS[number]


def interrupt() -> NoReturn:
    """Raise an interrupt. Where SIGTERM is handled, ignore it from now on: a launcher may send it to a training that ends.

    Raises:
        KeyboardInterrupt: Always.
    """
    if signal.SIGTERM in _ORIGINAL_HANDLERS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise KeyboardInterrupt


def release_frames(error: BaseException) -> None:
    """Delete the objects of an interrupted call, without a report on those whose constructor was interrupted.

    The destructor of torch's iterator over worker processes fails if its constructor has not finished.

    Args:
        error (BaseException): The error that has ended the call.
    """
    previous = sys.unraisablehook
    sys.unraisablehook = lambda *_: None
    try:
        traceback.clear_frames(error.__traceback__)
        gc.collect()
    finally:
        sys.unraisablehook = previous


def _is_interruptible(frame: FrameType | None) -> bool:
    """Return whether an exception does no harm in a frame and in its callers."""
    # What a forked process runs is called by the function that has started it.
    while frame is not None and frame.f_code is not _START_OF_CHILD:
        if frame.f_code in _UNINTERRUPTIBLE:
            return False
        frame = frame.f_back
    return True


@contextmanager
def _deferring(owner: type, name: str, received: Sequence[int]) -> Iterator[None]:
    """Let a method raise the interrupt of a signal that has arrived during the method."""
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        count = len(received)
        result = original(*args, **kwargs)
        if len(received) > count and threading.current_thread() is threading.main_thread():
            interrupt()
        return result

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, original)


_ORIGINAL_HANDLERS: dict[int, Any] = {}


# Pools end their workers with SIGTERM, those of mmdet's evaluation often when they have just started. With the handler of the training, or
# with a signal that arrives before the handler is replaced, a worker would not end, and the training would wait forever.
def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _ORIGINAL_HANDLERS)


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORIGINAL_HANDLERS)


def _start_child() -> None:
    for number, handler in _ORIGINAL_HANDLERS.items():
        signal.signal(number, handler)
    for number in signal.sigpending():
        signal.signal(number, signal.SIG_DFL)
    # Until a worker of torch handles an interrupt, and in other workers, its traceback would be printed.
    if _ORIGINAL_HANDLERS and not _is_interruptible(sys._getframe()):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _unblock_signals()


# Each takes some milliseconds. Python ignores exceptions in the functions of a fork: the child would start with signals that are not
# blocked, or the functions that other modules have registered would not be finished. A process must be known to multiprocessing, which ends
# it. An exception between the acquisition of a queue's lock and the block that releases it would leave the queue locked: the end of the
# workers, which are told by another object, would wait forever.
_UNINTERRUPTIBLE = {each.__code__ for each in (BaseProcess.start, Queue.put, _block_signals, _unblock_signals)}
_START_OF_CHILD = BaseProcess._bootstrap.__code__  # type: ignore[attr-defined]

os.register_at_fork(before=_block_signals, after_in_parent=_unblock_signals, after_in_child=_start_child)
