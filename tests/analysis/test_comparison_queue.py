"""Deadlines, interrupts, locks and disk space of comparisons whose trainings are fake."""

import errno
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from lckd_mm.analysis import training
from lckd_mm.analysis.comparison_results import read_results
from lckd_mm.errors import ConfigRuntimeError
from tests.helpers.fake_training import CONFIG, VARIANTS, compare, install_fake_training


@pytest.fixture(autouse=True)
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_training(tmp_path, monkeypatch)


class TestDeadline:
    def test_running_trainings_are_ended_and_resumed(self, capsys: pytest.CaptureFixture) -> None:
        compare('fast: a.py')
        start = time.monotonic()
        with pytest.raises(SystemExit) as end:
            compare('fast: a.py', 'slow: a.py sleep=60', 'later: a.py gain=1', '--deadline', '0.025')
        assert end.value.code == 3
        assert time.monotonic() - start < 20
        message = capsys.readouterr().err
        assert 'unfinished at the deadline: slow, seed 0; later, seed 0; the same command resumes' in message
        assert [r['variant'] for r in read_results('out/results.jsonl')] == ['fast']
        assert 'Not finished: slow, seed 0; later, seed 0.' in Path('out/table.md').read_text()

    def test_process_that_ignores_sigterm_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / 'stubborn.py').write_text(
            'import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint("ready", flush=True)\ntime.sleep(60)\n'
        )
        monkeypatch.setattr(training, 'TRAIN_COMMAND', (sys.executable, str(tmp_path / 'stubborn.py')))
        monkeypatch.setattr(training, '_GRACE', 0.2)
        start = time.monotonic()
        with pytest.raises(training.DeadlineError, match='ended at the deadline'):
            training.run_training('a.py', tmp_path / 'work', stop_at=start + 0.5)
        assert time.monotonic() - start < 20

    def test_training_that_ends_in_time_is_no_deadline(self, tmp_path: Path) -> None:
        training.run_training('a.py', tmp_path / 'work', stop_at=time.monotonic() + 60)


def test_terminated_comparison_ends_its_trainings() -> None:
    started = Path('out/runs/slow/seed0/started').absolute()
    unhandled: list[int] = []

    def terminate() -> None:
        while not started.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, lambda number, _: unhandled.append(number))
    start = time.monotonic()
    try:
        threading.Thread(target=terminate).start()
        with pytest.raises(SystemExit) as end:
            compare('slow: a.py sleep=30', 'next: a.py gain=1')
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert end.value.code == 128 + signal.SIGTERM
    assert not unhandled
    assert time.monotonic() - start < 20
    assert not Path('out/runs/next').exists()


def test_work_directory_is_locked_by_its_training(tmp_path: Path) -> None:
    work_dir = tmp_path / 'work'
    ends: list[ConfigRuntimeError] = []

    def train() -> None:
        try:
            training.run_training('a.py', work_dir, ['--cfg-options', 'sleep=30'])
        except ConfigRuntimeError as error:
            ends.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    while not (work_dir / 'started').exists() or not (work_dir / 'started').read_text():
        time.sleep(0.02)
    with pytest.raises(
        ConfigRuntimeError, match=r"another training is running in '.*work', perhaps of a command that was"
    ):
        training.run_training('a.py', work_dir)
    # The training keeps the lock if its comparison is killed.
    number = int((work_dir / 'started').read_text())
    assert str(work_dir / 'lock') in [os.readlink(path) for path in Path(f'/proc/{number}/fd').iterdir()]
    os.kill(number, signal.SIGKILL)
    thread.join()
    assert len(ends) == 1
    training.run_training('a.py', work_dir)


def test_work_directory_of_a_running_training_is_not_emptied(tmp_path: Path) -> None:
    def train() -> None:
        with pytest.raises(ConfigRuntimeError):
            compare('slow: a.py sleep=30')

    thread = threading.Thread(target=train)
    thread.start()
    started = tmp_path / 'out/runs/slow/seed0/started'
    while not started.exists() or not started.read_text():
        time.sleep(0.02)
    try:
        # Other settings: the training would start anew, in an empty folder.
        with pytest.raises(ConfigRuntimeError, match='another training is running'):
            compare('slow: a.py sleep=0', '--train-args=--amp')
        assert started.exists()
    finally:
        os.kill(int(started.read_text()), signal.SIGKILL)
        thread.join()
    (result,) = compare('slow: a.py sleep=0', '--train-args=--amp')
    assert result['settings']['precision'] == 'mixed'


def test_file_system_without_locks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(training.fcntl, 'flock', refuse)
    training.run_training('a.py', tmp_path / 'work')


def test_config_that_is_different_each_time_ends_the_comparison() -> None:
    Path('a.py').write_text(f'import time\n{CONFIG}\nexperiment_name = str(time.time_ns())\n')
    with pytest.raises(ConfigRuntimeError, match=r'a\.py, its teacher or its splits are not what they were .*constant'):
        compare('a.py')
    assert len(read_results('out/results.jsonl')) == 1


def test_checkpoints_of_finished_runs_are_deleted_on_request() -> None:
    compare(*VARIANTS)
    assert len(list(Path('out').rglob('*.pth'))) == 2
    assert len(compare(*VARIANTS, '--clean')) == 2
    assert not list(Path('out').rglob('*.pth'))
    assert list(Path('out').rglob('scalars.json'))
    assert len(compare(*VARIANTS, '--clean', seeds=(0, 1))) == 4
    assert not list(Path('out').rglob('*.pth'))


def test_progress_names_the_time_left_and_the_disk_space(capsys: pytest.CaptureFixture) -> None:
    compare(*VARIANTS)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('plain, seed 0'))
    assert re.search(r'103 \(0\.\d min\); 1 run of the confirmation left, about 0 min; 0\.00 GB in out', line)
