"""Configs that inherit from lckd_mm by name."""

import os
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import get_installed_path

import lckd_mm

from ..helpers.processes import run_python

ROOT = Path(lckd_mm.__file__).parents[1]


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """A config that inherits a config of lckd_mm."""
    base = min((ROOT / 'configs').glob('*/*.py')).relative_to(ROOT / 'configs')
    path = tmp_path / 'child.py'
    path.write_text(f"_base_ = 'lckd_mm::{base.as_posix()}'\nmark = 1\n")
    return path


def test_a_config_inherits_from_lckd_mm_by_name(child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.fromfile(child).mark == 1
    monkeypatch.delitem(MODULE2PACKAGE, 'lckd_mm')
    with pytest.raises(AssertionError, match='does not support to load lckd_mm'):
        Config.fromfile(child)


def test_the_installed_path_is_the_folder_of_the_imported_package() -> None:
    assert get_installed_path('lckd_mm') == os.path.dirname(lckd_mm.__file__)
    assert os.path.basename(get_installed_path('mmdet')) == 'mmdet'


def test_reading_a_config_prints_no_warning_about_pkg_resources(child: Path) -> None:
    code = f'import lckd_mm\nfrom mmengine import Config\nprint(Config.fromfile({str(child)!r}).mark)'
    done = run_python('-c', code, PYTHONPATH=str(ROOT))
    assert done.stdout.endswith('1\n'), done.stderr
    assert 'pkg_resources is deprecated' not in done.stderr
