"""Importing `lckd_mm.compat` without `lckd_mm/__init__.py`, which would apply all patches."""

import importlib
import sys
from pathlib import Path
from types import ModuleType


def load_compat() -> ModuleType:
    """Return `lckd_mm.compat` in a process that has not imported lckd_mm."""
    assert 'lckd_mm' not in sys.modules
    package = ModuleType('lckd_mm')
    package.__path__ = [str(Path(__file__).parents[2] / 'lckd_mm')]
    sys.modules['lckd_mm'] = package
    return importlib.import_module('lckd_mm.compat')
