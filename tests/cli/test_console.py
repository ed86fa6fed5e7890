"""The console script `lckd-mm` is `python -m lckd_mm` under a shorter name."""

import sys
from pathlib import Path

import pytest

from lckd_mm.cli import console
from lckd_mm.cli.dispatch import SCRIPT
from lckd_mm.version import __version__
from tests.helpers.processes import run_python
from tests.helpers.tools import ROOT

# What pip writes for the entry point.
CODE = 'import sys\nfrom lckd_mm.cli.console import main\nif __name__ == "__main__":\n    sys.exit(main())\n'


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / 'bin' / SCRIPT
    path.parent.mkdir()
    path.write_text(CODE)
    return path


@pytest.mark.parametrize(
    'arguments',
    [(), ('--version',), ('help', 'env'), ('env', '--stak'), ('tran', 'x.py'), ('--amp', 'train', 'x.py'), ('x.py',)],
    ids=' '.join,
)
def test_script_and_module_differ_in_their_name_only(arguments: tuple[str, ...], script: Path) -> None:
    started = [run_python(*command, *arguments, PYTHONPATH=str(ROOT)) for command in (['-m', 'lckd_mm'], [script])]
    outputs = [(done.returncode, done.stdout, done.stderr) for done in started]
    replaced = [text.replace('python -m lckd_mm', SCRIPT) for text in outputs[0][1:]]
    assert (outputs[0][0], *replaced) == outputs[1]


def test_help_and_messages_need_the_standard_library_only(script: Path) -> None:
    # Without site-packages nothing else is found.
    done = run_python('-S', script, '--version', PYTHONPATH=str(ROOT))
    assert (done.stdout, done.stderr) == (f'lckd_mm {__version__}\n', '')
    assert run_python('-S', script, 'env', PYTHONPATH=str(ROOT)).returncode == 1


@pytest.mark.parametrize('is_safe', [False, True])
def test_modules_of_the_working_directory_can_be_imported(
    is_safe: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Flags:
        isolated = 0
        safe_path = is_safe

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'flags', Flags())
    monkeypatch.setattr(sys, 'argv', [SCRIPT, '--version'])
    monkeypatch.setattr(sys, 'path', ['bin', 'site-packages'])
    console.main()
    assert sys.path == ['bin' if is_safe else str(tmp_path), 'site-packages']
