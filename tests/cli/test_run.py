"""`python -m lckd_mm run SCRIPT` is `python SCRIPT` with lckd_mm registered."""

import json
from pathlib import Path

import pytest

from lckd_mm.cli.run import main
from tests.helpers.processes import run_python
from tests.helpers.tools import ROOT, free_port, run_tool

SCRIPT = """
import inspect, json, os, sys
import __main__, neighbor
from mmengine.config.utils import MODULE2PACKAGE
main = {key: str(value) for key, value in vars(__main__).items() if key in ('__name__', '__file__', '__package__', '__spec__')}
state = dict(argv=sys.argv, path=sys.path[0], main=main, is_main=vars(__main__) is globals(), source=inspect.getsource(neighbor))
if os.environ.get('PRINT_REGISTERED'):
    state = dict(rank=os.environ['RANK'], argv=sys.argv, is_registered='lckd_mm' in MODULE2PACKAGE)
open(sys.argv[1] + os.environ.get('RANK', ''), 'w').write(json.dumps(state))
sys.exit(7 if sys.argv[2] == 'fail' else None)
"""
VERB = ('-W', 'ignore', '-m', 'lckd_mm', 'run')


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script of another project, beside a module that it imports."""
    (tmp_path / 'theirs').mkdir()
    (tmp_path / 'theirs' / 'neighbor.py').write_text('here = True\n')
    path = tmp_path / 'theirs' / 'train.py'
    path.write_text(SCRIPT)
    return path


def test_script_sees_what_python_gives_it_and_its_exit_status_passes_through(script: Path, tmp_path: Path) -> None:
    arguments = ('fail', '--help', '--cfg-options', 'a=1', '--', '-x')
    states = []
    for command in ((), VERB):
        done = run_python(*command, script, tmp_path / 'state', *arguments, PYTHONPATH=str(ROOT))
        assert done.returncode == 7, done.stderr
        states.append(json.loads((tmp_path / 'state').read_text()))
    assert states[0] == states[1]


def test_missing_script_is_reported_in_one_sentence() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"script 'tools/trian.py' does not exist: give the path of a Python file\."
    ):
        main(['tools/trian.py', '--launcher', 'pytorch'])


@pytest.mark.training
def test_dist_train_runs_the_script_of_another_project_in_every_process(script: Path, tmp_path: Path) -> None:
    variables = dict(LCKD_SCRIPT=str(script), PRINT_REGISTERED='1', PYTHONPATH=str(ROOT), PORT=str(free_port()))
    run_tool('bash', 'tools/dist_train.sh', tmp_path / 'state', '2', '--amp', **variables)
    for rank in '01':
        state = json.loads((tmp_path / f'state{rank}').read_text())
        arguments = [str(script), str(tmp_path / 'state'), '--amp', '--launcher', 'pytorch']
        assert state == dict(rank=rank, argv=arguments, is_registered=True)
