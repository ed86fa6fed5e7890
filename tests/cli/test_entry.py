import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lckd_mm.cli.entry import config_error_sentence, run_verb
from lckd_mm.errors import ConfigKeyError, ConfigValueError
from tests.helpers.tools import ROOT


def failing(error: BaseException) -> Callable:
    def main(arguments: object, prog: object) -> None:
        raise error

    return main


def test_configuration_error_ends_with_its_sentence_and_status_2(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        run_verb(failing(ConfigKeyError("method 'pdk' is unknown.")))
    assert end.value.code == 2
    assert capsys.readouterr().err == "method 'pdk' is unknown.\n"


def test_a_tool_receives_the_arguments_and_the_command_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []
    monkeypatch.setattr(sys, 'argv', ['my tools/train.py', 'mine.py', '--amp'])
    run_verb(lambda *values: received.append(values))
    assert received == [(['mine.py', '--amp'], "python 'my tools/train.py'")]


def test_debug_variable_shows_the_traceback(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LCKD_DEBUG', '1')
    with pytest.raises(SystemExit) as end:
        run_verb(failing(ConfigValueError('depth=17 is unknown.')))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('Traceback')
    assert error.endswith('ConfigValueError: depth=17 is unknown.\n')


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_verb(failing(ZeroDivisionError()))


def raise_after_configuration_error(is_suppressed: bool) -> None:
    try:
        raise ConfigValueError('depth=17 is unknown.')
    except ConfigValueError as error:
        raise RuntimeError('the model cannot be built') from (None if is_suppressed else error)


def test_configuration_error_is_found_behind_another_error() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise_after_configuration_error(is_suppressed=False)
    assert config_error_sentence(caught.value) == 'depth=17 is unknown.'


def test_suppressed_configuration_error_is_not_reported() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise_after_configuration_error(is_suppressed=True)
    assert config_error_sentence(caught.value) is None


@pytest.mark.parametrize('nested', ['', 'class `Algorithm` in algorithm.py: '])
def test_prefix_of_the_registry_is_removed(nested: str) -> None:
    error = ConfigValueError(f'{nested}class `Loss` in lckd_mm/models/losses/loss.py: weight=-1 is negative.')
    assert config_error_sentence(error) == 'weight=-1 is negative.'


class FailingDataset(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise ConfigValueError('sample 0 cannot be read: replace the file.')


def test_configuration_error_in_a_worker_is_one_sentence() -> None:
    with pytest.raises(ConfigValueError) as caught:
        next(iter(torch.utils.data.DataLoader(FailingDataset(), num_workers=1)))
    assert config_error_sentence(caught.value) == 'sample 0 cannot be read: replace the file.'


def run_without_reader(*arguments: str, closed: str = 'stdout', **environment: str) -> tuple[int, str]:
    """Run Python with a pipe that nobody reads; return its exit status and the output to the other stream."""
    read, write = os.pipe()
    os.close(read)
    streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, closed: write}
    try:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, text=True, check=False, **streams
        )
    finally:
        os.close(write)
    return done.returncode, done.stderr if closed == 'stdout' else done.stdout


VERB = """
import sys, types
package = types.ModuleType('lckd_mm')
package.__path__ = ['lckd_mm']
sys.modules['lckd_mm'] = package
from lckd_mm.cli.entry import run_verb
from lckd_mm.errors import ConfigValueError

def main(arguments, prog):
    print('output')
    {end}

run_verb(main, [])
"""


@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize(
    'arguments', [['-m', 'lckd_mm', 'env'], *(['-c', VERB.format(end=end)] for end in ('pass', 'sys.exit(0)'))]
)
def test_a_verb_whose_output_has_no_reader_ends_silently(arguments: list[str], unbuffered: str) -> None:
    assert run_without_reader(*arguments, PYTHONUNBUFFERED=unbuffered) == (1, '')


def test_a_verb_whose_messages_have_no_reader_keeps_its_output() -> None:
    code = VERB.format(end="raise ConfigValueError('depth=17 is unknown.')")
    assert run_without_reader('-c', code, closed='stderr', PYTHONUNBUFFERED='1') == (1, 'output\n')


def test_an_error_is_reported_if_the_output_has_no_reader() -> None:
    status, error = run_without_reader('-c', VERB.format(end='1 / 0'), PYTHONUNBUFFERED='')
    assert status != 0
    assert 'ZeroDivisionError' in error


def test_other_broken_pipes_keep_their_traceback() -> None:
    def main(arguments: object, prog: object) -> None:
        read, write = os.pipe()
        os.close(read)
        with open(write, 'wb', buffering=0) as pipe:
            pipe.write(b'x')

    with pytest.raises(BrokenPipeError):
        run_verb(main, [])


def raise_from_dead_worker(message: str) -> None:
    try:
        raise OSError('timeout')
    except OSError as error:
        raise RuntimeError(message) from error


@pytest.mark.parametrize(
    'message',
    [
        'DataLoader worker (pid 42) is killed by signal: Killed. ',
        'DataLoader worker (pid(s) 42, 43) exited unexpectedly',
    ],
)
def test_a_dead_worker_is_one_sentence(message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: raise_from_dead_worker(message))
    assert end.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith('worker process 42')
    assert 'lower num_workers' in sentence
    assert sentence.count('\n') == 1


def test_the_messages_of_torch_about_dead_workers_are_recognized(capsys: pytest.CaptureFixture) -> None:
    class Data(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            os.kill(os.getpid(), signal.SIGKILL)
            return index

    with pytest.raises(SystemExit):
        run_verb(lambda *_: list(torch.utils.data.DataLoader(Data(), num_workers=1)))
    assert 'of a data loader has ended (' in capsys.readouterr().err


def test_a_full_disk_is_one_sentence(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        run_verb(lambda *_: Path('/dev/full').write_text('x'))
    assert end.value.code == 2
    assert 'cannot be written (No space left on device, ' in capsys.readouterr().err


def test_an_interrupt_is_one_sentence(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        run_verb(failing(KeyboardInterrupt()))
    assert end.value.code == 130
    assert capsys.readouterr().err.strip().startswith('Interrupted; ')
