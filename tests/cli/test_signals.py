"""Signals while processes are started, and while workers are told their next batch."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.signals import handled_signals


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)], ids=['SIGTERM', 'SIGINT']
)
def test_a_worker_ends_by_sigterm_and_not_by_an_interrupt(number: int, code: int) -> None:
    """The pool of mmdet's evaluation waits for its workers, which it ends with SIGTERM."""
    with handled_signals(signal.SIGINT, signal.SIGTERM):
        process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(1,))
        process.start()
        os.kill(process.pid, number)
        process.join(30)
    assert process.exitcode == code


def test_another_forked_process_is_ended_by_an_interrupt() -> None:
    # A shell starts processes in the background with interrupts ignored, which they inherit.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with handled_signals(signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(['sleep', '60'], preexec_fn=lambda: None)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == -signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)


_SENDS_DURING_A_FORK: list[str] = []


def _send_during_a_fork(moment: str) -> None:
    if moment in _SENDS_DURING_A_FORK:
        _SENDS_DURING_A_FORK.clear()
        os.kill(os.getpid(), signal.SIGINT)


# Python calls the first one before, and the second one after the function that lckd_mm has registered for a fork.
os.register_at_fork(
    before=lambda: _send_during_a_fork('before'), after_in_parent=lambda: _send_during_a_fork('after_in_parent')
)


@pytest.mark.parametrize('moment', ['before', 'after_in_parent'])
def test_a_signal_while_a_process_is_started_is_raised_afterwards(
    moment: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python ignores exceptions there, and prints their tracebacks."""
    printed: list[type] = []
    monkeypatch.setattr(sys, 'unraisablehook', lambda unraisable: printed.append(unraisable.exc_type))
    process = multiprocessing.get_context('fork').Process(target=_SENDS_DURING_A_FORK.clear)

    def start(*_: object) -> None:
        _SENDS_DURING_A_FORK.append(moment)
        process.start()

    with pytest.raises(SystemExit) as end:
        run_verb(start)
    process.join(30)
    assert process.exitcode == 0
    assert end.value.code == 130
    assert printed == []
    assert capsys.readouterr().err == '\nInterrupted; all files that were complete before are unchanged.\n'


def test_an_interrupt_that_becomes_an_error_of_a_worker_is_no_error(capsys: pytest.CaptureFixture) -> None:
    def run(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError('DataLoader worker (pid 42) exited unexpectedly') from None

    with pytest.raises(SystemExit) as end:
        run_verb(run)
    assert end.value.code == 130
    assert capsys.readouterr().err == '\nInterrupted; all files that were complete before are unchanged.\n'


class _Interrupting(threading.Condition):
    """A condition with a signal directly after the first acquisition of its lock.

    The thread of the queue and the end of the queue acquire it again, possibly after the training.
    """

    is_first = True

    def __enter__(self) -> bool:
        result = super().__enter__()
        if self.is_first:
            self.is_first = False
            os.kill(os.getpid(), signal.SIGTERM)
        return result


def test_a_signal_while_a_worker_is_told_its_next_batch_leaves_its_queue_usable() -> None:
    """A queue that stays locked would keep the end of the workers waiting forever."""
    queue = multiprocessing.Queue()
    queue._notempty = _Interrupting(threading.Lock())
    with handled_signals(signal.SIGTERM) as received, pytest.raises(KeyboardInterrupt):
        queue.put(0)
    assert received == [signal.SIGTERM]
    # The thread of the queue may hold the lock for a moment.
    assert queue._notempty.acquire(timeout=10)
    queue._notempty.release()
    assert queue.get(timeout=10) == 0
    queue.close()
    queue.join_thread()


def test_the_handlers_are_those_of_before_after_nested_blocks() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    start = multiprocessing.Process.start
    with handled_signals(signal.SIGINT):
        outer = signal.getsignal(signal.SIGINT)
        with handled_signals(signal.SIGINT, signal.SIGTERM), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is outer
        process = multiprocessing.get_context('fork').Process(
            target=lambda: os._exit(signal.getsignal(signal.SIGTERM) == before[1])
        )
        process.start()
        process.join(30)
        assert process.exitcode == 1
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert multiprocessing.Process.start is start


def test_a_signal_does_not_outlive_its_block() -> None:
    def fail() -> None:
        signal.raise_signal(signal.SIGTERM)
        raise ZeroDivisionError

    queue = multiprocessing.Queue()
    queue._start_thread = fail
    with handled_signals(signal.SIGTERM) as received, pytest.raises(ZeroDivisionError):
        queue.put(0)
    assert received == [signal.SIGTERM]
    process = multiprocessing.get_context('fork').Process(target=int)
    with handled_signals(signal.SIGTERM):
        process.start()
    process.join(30)
    assert process.exitcode == 0
