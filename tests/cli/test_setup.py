"""The failures of tools/setup_env.sh: one sentence each, with the next step. Nothing is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tools import ROOT

# What the script and a fake interpreter run, without compilers.
PROGRAMS = (
    'awk', 'basename', 'bash', 'cat', 'cut', 'dirname', 'env', 'flock', 'grep', 'head', 'mkdir', 'readlink', 'rm', 'sed', 'setsid',
    'sha256sum', 'sleep', 'tail', 'touch', 'tr',
)  # fmt: skip
# An interpreter without torch; its pip does what a test says.
INTERPRETER = """#!/bin/bash
case "$*" in
    '-m pip --version') {has_pip} ;;
    '-m pip install'*{failing}*) echo "{reason}" >&2; exit 1 ;;
    '-m pip install'*) exit 0 ;;
    '-m venv '*) {make_venv} ;;
    *version_info*) echo {version} ;;
    *CFLAGS*) echo -O2 ;;
    *cuda*) echo False ;;
    # Scripts on standard input: only the one that imports mmcv's operators has three arguments, and fails.
    -*) [ "$1" = - ] && [ $# -ne 4 ] ;;
    *) exit 1 ;;
esac
"""
NO_NETWORK = 'ERROR: Could not find a version that satisfies the requirement setuptools (from versions: none)'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clone in a folder with spaces, quotes, a command and Unicode in its name, and a PATH without compilers."""
    clone = tmp_path / 'a "b" $(touch pwned) \'ü'
    clone.mkdir()
    for name in ('tools', 'requirements', 'lckd_mm', 'pyproject.toml', 'setup.py'):
        (clone / name).symlink_to(ROOT / name)
    # The script finds its root beside itself.
    (clone / 'tools').unlink()
    (clone / 'tools').mkdir()
    (clone / 'tools' / 'setup_env.sh').write_text((ROOT / 'tools' / 'setup_env.sh').read_text())
    (tmp_path / 'bin').mkdir()
    for program in PROGRAMS:
        path = next(
            (Path(folder) / program for folder in ('/usr/bin', '/bin') if (Path(folder) / program).exists()), None
        )
        if path is not None:
            (tmp_path / 'bin' / program).symlink_to(path)
    return clone


def write_interpreter(
    path: Path,
    has_pip: str = 'exit 0',
    make_venv: str = 'exit 1',
    failing: str = 'nothing',
    reason: str = '',
    version: str = '3.11',
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = INTERPRETER.format(has_pip=has_pip, make_venv=make_venv, failing=failing, reason=reason, version=version)
    path.write_text(content)
    path.chmod(0o755)
    return path


def set_up(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        ['bash', str(root / 'tools' / 'setup_env.sh'), *arguments],
        env={'PATH': str(root.parent / 'bin'), 'HOME': str(root.parent), **environment},
        cwd=root.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not list(root.parent.glob('**/pwned'))
    return done


def failure(done: subprocess.CompletedProcess) -> str:
    """Return the sentence of a failed set-up, which is the last line."""
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('[set-up] FAILED: ')
    return last


def test_a_machine_without_python_is_told_to_install_one(root: Path) -> None:
    message = failure(set_up(root))
    assert 'there is no Python 3.13 or 3.12 or 3.11 or 3.10 on PATH: install it, or set LCKD_PYTHON' in message


@pytest.mark.parametrize(
    ('variables', 'expected'),
    [
        (dict(LCKD_STACK='mine'), 'LCKD_STACK=mine is unknown: use openmmlab or onedl.'),
        (dict(LCKD_VENV='/no where'), 'LCKD_VENV=/no where is not a folder: set it to an existing environment.'),
        (dict(LCKD_PYTHON='/no/$(touch pwned)'), 'LCKD_PYTHON=/no/$(touch pwned) does not run: set it to a Python'),
    ],
)
def test_wrong_variables_are_named(variables: dict, expected: str, root: Path) -> None:
    assert expected in failure(set_up(root, **variables))


def test_arguments_are_refused(root: Path) -> None:
    assert "argument '--stack onedl' is not expected" in failure(set_up(root, '--stack onedl'))


def test_a_folder_without_pip_is_no_environment(root: Path) -> None:
    venv = root.parent / 'my venv'
    write_interpreter(venv / 'bin' / 'python', has_pip='exit 1')
    assert f'LCKD_VENV={venv} is not an environment with pip' in failure(set_up(root, LCKD_VENV=str(venv)))


def test_a_half_made_environment_is_made_again(root: Path) -> None:
    """An interrupted set-up left an interpreter without pip; the new one has no module venv either, as on Debian."""
    write_interpreter(root / '.venv' / 'bin' / 'python', has_pip='exit 1')
    (root / '.venv' / 'remains').touch()
    write_interpreter(root.parent / 'bin' / 'python3.11', make_venv='echo "ensurepip is not available"; exit 1')
    done = set_up(root)
    assert f'{root}/.venv does not work: it is created again' in done.stdout
    assert not (root / '.venv' / 'remains').exists()
    message = failure(done)
    assert "the step 'environment'" in message
    assert 'install the package python3.11-venv' in message
    assert 'ensurepip is not available' in done.stderr


def test_an_environment_of_another_python_is_made_again(root: Path) -> None:
    write_interpreter(root / '.venv' / 'bin' / 'python')
    (root / '.venv' / 'remains').touch()
    other = write_interpreter(root.parent / 'bin' / 'other', version='3.12')
    done = set_up(root, LCKD_PYTHON=str(other))
    assert f'{root}/.venv has Python 3.11, but LCKD_PYTHON={other} is Python 3.12: it is created again' in done.stdout
    assert not (root / '.venv' / 'remains').exists()
    assert "the step 'environment'" in failure(done)


@pytest.fixture
def environment(root: Path) -> Path:
    """A complete environment, in which nothing is installed yet."""
    return root / '.venv' / 'bin' / 'python'


@pytest.mark.parametrize('step', ['build', 'torch', 'runtime', 'openmmlab'])
def test_a_step_without_network_names_its_log(step: str, root: Path, environment: Path) -> None:
    write_interpreter(environment, failing=f'/{step}.txt', reason=NO_NETWORK)
    done = set_up(root, PIP_INDEX_URL='http://127.0.0.1:9')
    message = failure(done)
    assert f"the step '{step}'" in message
    log = root / '.venv' / 'lckd_logs' / f'{step}.log'
    assert f'its complete log is {log}' in message
    assert 'PIP_INDEX_URL' in message
    assert NO_NETWORK in log.read_text()
    assert NO_NETWORK in done.stderr
    assert not (root / '.venv' / '.lckd_stamp').exists()


def test_a_missing_compiler_is_named(root: Path, environment: Path) -> None:
    write_interpreter(environment, failing='_mmcv.txt', reason="error: command 'g++' failed: No such file or directory")
    message = failure(set_up(root))
    assert "the step 'mmcv'" in message
    assert 'The build requires a C++ compiler (g++) and the headers of Python' in message


def test_operators_that_do_not_load_are_reported(root: Path, environment: Path) -> None:
    write_interpreter(environment)
    done = set_up(root)
    assert 'the cached wheel of mmcv was built for another torch' in done.stdout
    assert 'mmcv was built, but its operators do not load; the log is' in failure(done)


def test_pip_without_an_index_fails_as_the_tests_assume() -> None:
    """The message of a real pip whose index refuses the connection."""
    command = [
        sys.executable,
        '-m',
        'pip',
        'download',
        '--no-deps',
        '--retries',
        '0',
        'setuptools==1.2.3',
        '-d',
        '/nowhere',
    ]
    variables = {name: value for name, value in os.environ.items() if not name.startswith('PIP_')}
    variables.update(PIP_INDEX_URL='http://127.0.0.1:9', PIP_CONFIG_FILE=os.devnull, PIP_NO_INPUT='1')
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert 'No matching distribution found' in done.stderr or 'Could not find a version' in done.stderr
