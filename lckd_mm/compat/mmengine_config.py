"""Patches of mmengine's config inheritance."""

import os
import warnings
from collections.abc import Callable
from typing import Any

from .patching import patch

_PACKAGE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@patch(
    'mmengine.config.utils:MODULE2PACKAGE',
    'lckd_mm',
    library='mmengine',
    versions='>=0.10,<1',
    issue='open-mmlab/mmengine#1410',
    reason="configs cannot inherit 'lckd_mm::path.py': mmengine does not support to load lckd_mm config",
    until='mmengine accepts every package that has configs in .mim',
)
def mmengine_config_packages(_: Any) -> str:
    """Add lckd_mm to mmengine's fixed table of packages with configs."""
    return 'lckd_mm'


@patch(
    # The modules that import the function by name.
    ('mmengine.utils', 'mmengine.utils.package_utils', 'mmengine.config.config', 'mmengine.hub.hub'),
    'get_installed_path',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="configs cannot inherit 'lckd_mm::path.py' in development mode: mmengine looks for the package in site-packages, "
    'where an editable installation of setuptools 64 or newer is not',
    until='mmengine gets the folder from the imported package',
)
def mmengine_installed_path(original: Callable[[str], str]) -> Callable[[str], str]:
    """Return the folder of the imported lckd_mm."""

    def get_installed_path(package: str) -> str:
        return _PACKAGE_FOLDER if package == 'lckd_mm' else original(package)

    return get_installed_path


@patch(
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="'pkg_resources is deprecated' is printed for every inherited config, since mmengine reloads pkg_resources each time; the "
    'requirement setuptools<81 is the answer to the warning',
    until='mmengine uses importlib.metadata in place of pkg_resources',
)
def mmengine_pkg_resources_warning() -> None:
    """Ignore this warning."""
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
