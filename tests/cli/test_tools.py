"""The files in tools/ are fronts of the package."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tools import ROOT

# mmcv_build contains a module that Python imports, no tool.
TOOLS = sorted(path for path in (ROOT / 'tools').rglob('*.py') if not {'dev', 'mmcv_build'} & set(path.parts))


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.relative_to(ROOT / 'tools').as_posix())
def test_tool_describes_its_arguments_under_its_own_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    # The demonstration changes the working directory.
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [str(path), '--help'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name='__main__')
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert re.match(rf'usage: python {re.escape(str(path))}\s', printed)
    assert '\nexamples:\n  # ' in printed
    assert f'  python {path}' in printed


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.relative_to(ROOT / 'tools').as_posix())
def test_tool_contains_no_logic(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 15


def test_package_runs_as_a_module(tmp_path: Path) -> None:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-W', 'ignore', '-m', 'lckd_mm', 'tran']
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr.startswith("verb 'tran' is unknown")
    assert len(done.stderr.splitlines()) == 1
