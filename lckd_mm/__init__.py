"""Lipschitz-guided knowledge distillation for OpenMMLab. Importing it registers everything.

The order matters: what is missing is said before anything of it is imported, and the stack is mended before the
registering modules, which import mmengine and mmrazor, are.
"""

# ruff: noqa: E402
from .dependencies import check_dependencies
from .version import __version__

check_dependencies()

from . import compat

compat.apply()

from . import datasets, engine, models

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'models']
