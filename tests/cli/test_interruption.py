"""How a training ends that is interrupted, or that finds the disk full."""

import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

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


class _SignalInDestructor:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_in_a_destructor_ends_the_training_without_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python ignores exceptions there, and prints their tracebacks. The end of the workers of an epoch is one."""
    printed: list[type] = []
    monkeypatch.setattr(sys, 'unraisablehook', lambda unraisable: printed.append(unraisable.exc_type))
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
