"""How a training ends that is interrupted, or that finds the disk full."""

import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.interruption import reported_end
from lckd_mm.latest_checkpoint import find_latest_checkpoint
from tests.helpers.small_classifiers import classifier
from tests.helpers.tiny_configs import write_config, write_images
from tests.helpers.tools import ROOT

from ..scripts.toy_training import make_runner


class _Act(Hook):
    """Calls a function after an iteration, counted from 0."""

    def __init__(self, iteration: int, act: object) -> None:
        self.iteration, self.act = iteration, act

    def after_train_iter(self, runner: object, batch_idx: int, *_: object, **__: object) -> None:
        if runner.iter == self.iteration:
            self.act()


def _train(work_dir: Path, iteration: int, act: object) -> None:
    runner = make_runner(work_dir, custom_hooks=[_Act(iteration, act)])
    with reported_end(runner):
        runner.train()


def _kill_twice(number: int) -> None:
    try:
        os.kill(os.getpid(), number)
    finally:
        # As a launcher does that waits for its processes.
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_reported_with_the_last_checkpoint(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: _train(tmp_path, 5, lambda: _kill_twice(number)))
    assert end.value.code == 128 + number
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'The training was interrupted at iteration 5 by {signal.Signals(number).name}; the last checkpoint is '
        f'{tmp_path}/epoch_1.pth: the same command with --resume continues from it.'
    )
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interruption_before_the_first_checkpoint_says_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run_verb(lambda *_: _train(tmp_path, 1, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert 'no checkpoint has been saved before' in capsys.readouterr().err


def _raise(error: Exception) -> None:
    raise error


def test_a_worker_that_receives_the_same_signal_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def end_all() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError('DataLoader worker (pid 42) is killed by signal: Terminated. ') from None

    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: _train(tmp_path, 1, end_all))
    assert end.value.code == 143
    assert 'by SIGTERM' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)], ids=['SIGTERM', 'SIGINT']
)
def test_a_worker_ends_by_sigterm_and_not_by_an_interrupt(number: int, code: int) -> None:
    """The pool of mmdet's evaluation waits for its workers, which it ends with SIGTERM."""
    with reported_end(SimpleNamespace(register_hook=lambda *_, **__: None)):
        process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(1,))
        process.start()
        os.kill(process.pid, number)
        process.join(30)
    assert process.exitcode == code


def test_another_forked_process_is_ended_by_an_interrupt() -> None:
    with reported_end(SimpleNamespace(register_hook=lambda *_, **__: None)):
        process = subprocess.Popen(['sleep', '60'], preexec_fn=lambda: None)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The exceptions that Python would ignore, and print with their tracebacks."""
    result: list[type] = []
    monkeypatch.setattr(sys, 'unraisablehook', lambda unraisable: result.append(unraisable.exc_type))
    return result


_SENDS_DURING_A_FORK: list[str] = []


def _send_during_a_fork(moment: str) -> None:
    if moment in _SENDS_DURING_A_FORK:
        _SENDS_DURING_A_FORK.clear()
        os.kill(os.getpid(), signal.SIGINT)


# Python calls the first one before, and the second one after the function that the training has registered.
os.register_at_fork(
    before=lambda: _send_during_a_fork('before'), after_in_parent=lambda: _send_during_a_fork('after_in_parent')
)


def _fork_with_a_signal(moment: str) -> None:
    _SENDS_DURING_A_FORK.append(moment)
    process = multiprocessing.get_context('fork').Process(target=_SENDS_DURING_A_FORK.clear)
    process.start()
    process.join(30)
    assert process.exitcode == 0


@pytest.mark.parametrize('moment', ['before', 'after_in_parent'])
def test_a_signal_during_a_fork_ends_the_training_at_the_next_batch(
    moment: str, tmp_path: Path, capsys: pytest.CaptureFixture, printed: list[type]
) -> None:
    """Python ignores exceptions there, and prints their tracebacks."""
    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: _train(tmp_path, 2, lambda: _fork_with_a_signal(moment)))
    assert end.value.code == 130
    assert printed == []
    assert 'interrupted at iteration 3 by SIGINT' in capsys.readouterr().err


class _SignalInDestructor:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_in_a_destructor_ends_the_training_without_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture, printed: list[type]
) -> None:
    """As above; the end of the workers of an epoch is one."""
    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: _train(tmp_path, 2, lambda: bool(_SignalInDestructor())))
    assert end.value.code == 130
    assert printed == []
    assert 'interrupted at iteration 3 by SIGINT' in capsys.readouterr().err


def test_a_training_in_a_forked_process_is_interrupted_at_once(tmp_path: Path) -> None:
    def train() -> None:
        run_verb(lambda *_: _train(tmp_path, 2, lambda: [os.kill(os.getpid(), signal.SIGINT), os._exit(0)]))

    process = multiprocessing.get_context('fork').Process(target=train)
    process.start()
    process.join(60)
    assert process.exitcode == 130


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


def test_a_signal_while_a_worker_is_told_its_next_batch_leaves_its_queue_usable(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A queue that stays locked would keep the end of the workers waiting forever."""
    queue, states = multiprocessing.Queue(), []

    def put() -> None:
        queue._notempty = _Interrupting(threading.Lock())
        try:
            queue.put(0)
        finally:
            # The thread of the queue may hold the lock for a moment.
            is_free = queue._notempty.acquire(timeout=10)
            states.append(is_free)
            if is_free:
                queue._notempty.release()

    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: _train(tmp_path, 2, put))
    assert end.value.code == 143
    assert states == [True]
    assert queue.get(timeout=10) == 0
    assert 'interrupted at iteration 3 by SIGTERM' in capsys.readouterr().err
    queue.close()
    queue.join_thread()


def test_other_errors_keep_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_verb(lambda *_: _train(tmp_path, 1, lambda: _raise(ZeroDivisionError())))


def _fill_log() -> None:
    """Let the log file be one on a full disk."""
    logger = MMLogger.get_current_instance()
    (handler,) = (handler for handler in logger.handlers if isinstance(handler, logging.FileHandler))
    handler.setStream(open('/dev/full', 'w'))  # noqa: SIM115


@pytest.mark.parametrize('kind', ['log', 'scalars'])
def test_a_full_disk_during_logging_is_one_sentence(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def fill() -> None:
        if kind == 'log':
            _fill_log()
        else:
            _raise(OSError(28, 'No space left on device'))

    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: _train(tmp_path, 5, fill))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert 'cannot be written (No space left on device, ' in error
    assert 'Logging error' not in error
    assert Path(find_latest_checkpoint(tmp_path)).name == 'epoch_1.pth'


@pytest.mark.training
def test_ctrl_c_ends_a_training_with_workers_without_traceback(tmp_path: Path) -> None:
    write_images(tmp_path)
    config = write_config(tmp_path, classifier())
    command = [
        sys.executable,
        '-W',
        'ignore',
        'tools/train.py',
        config,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
    ]
    command += ['train_cfg.max_epochs=1000', 'train_dataloader.num_workers=1']
    # A terminal sends the signal to the workers as well.
    with subprocess.Popen(
        [*map(str, command)],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        checkpoint = tmp_path / 'work' / 'epoch_2.pth'
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        try:
            output = process.communicate(timeout=120)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 130, output[-3000:]
    assert 'Traceback' not in output
    assert re.search(r'interrupted at iteration \d+ by SIGINT; the last checkpoint is \S+epoch_\d+\.pth: ', output)
