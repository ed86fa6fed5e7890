"""The module with which setup.py of mmcv 2.1.0 runs with Python 3.13."""

import subprocess
import sys
from pathlib import Path

import pytest

from lckd_mm.dependencies import STACKS, install_commands
from tests.helpers.processes import run_python
from tests.helpers.tools import ROOT

FOLDER = ROOT / 'tools' / 'mmcv_build'

# The function `get_version` of mmcv's setup.py.
SETUP = """
def get_version():
    version_file = 'version.py'
    with open(version_file, encoding='utf-8') as f:
        exec(compile(f.read(), version_file, 'exec'))
    return locals()['__version__']

exec('top_level = 1')
values = {}
exec('inner = 2', values)
exec('inner = other', {'other': 3}, values)
print(get_version(), top_level, values['inner'])
"""


def test_a_function_reads_from_locals_what_exec_assigned(tmp_path: Path) -> None:
    (tmp_path / 'version.py').write_text("__version__ = '2.1.0'\n")
    (tmp_path / 'setup.py').write_text(SETUP)
    command = [sys.executable, 'setup.py']
    done = subprocess.run(
        command, cwd=tmp_path, env={'PYTHONPATH': str(FOLDER)}, capture_output=True, text=True, check=False
    )
    assert done.stdout == '2.1.0 1 3\n', done.stderr


@pytest.mark.skipif(sys.version_info < (3, 13), reason='older versions of Python build mmcv as it is')
@pytest.mark.parametrize('stack', STACKS)
def test_the_command_that_builds_mmcv_uses_the_module(stack: str) -> None:
    (path,) = (part for part in install_commands(stack)[1].split() if part.startswith('PYTHONPATH='))
    code = 'import sitecustomize; print(sitecustomize.__file__)'
    done = run_python('-c', code, PYTHONPATH=path.removeprefix('PYTHONPATH='))
    assert Path(done.stdout.strip()).resolve() == FOLDER / 'sitecustomize.py'
