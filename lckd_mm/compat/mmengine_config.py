"""Patches of mmengine's config inheritance."""

import os
import re
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
    'mmengine.config.utils:MODULE2PACKAGE',
    'mmseg',
    library='mmengine',
    versions='',
    onedl='>=0.10.12,<1',
    issue='none known',
    reason="configs cannot inherit 'mmseg::path.py' beside the fork: mmengine takes its distribution to be mmsegmentation, and "
    "`mmengine.hub.get_config` installs that over the fork's files",
    until="mmengine's table contains the distributions of the fork",
)
def mmengine_fork_packages(_: Any) -> str:
    """Name the package by its module, which mmengine finds without a distribution of that name."""
    return 'mmseg'


@patch(
    # The modules that import the function by name.
    ('mmengine.utils', 'mmengine.utils.package_utils', 'mmengine.config.config', 'mmengine.hub.hub'),
    'get_installed_path',
    library='mmengine',
    versions='>=0.10,<1',
    onedl='',
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
    'mmengine.config.config:Config',
    '_dict_to_config_dict',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="what a config inherits from 'lckd_mm::path.py' cannot be built: mmengine writes `_scope_='lckd_mm'` into it, a scope that no "
    "registry has, and looks the types up in its root registry: 'CustomDataset is not in the mmengine::dataset registry'",
    until='mmengine writes the default scope of the inherited config instead of the name of its package',
)
def mmengine_inherited_scope(original: Callable[..., Any]) -> Callable[..., Any]:
    """Write the default scope of an inherited config of lckd_mm; without one, the inheriting config determines the scope."""

    def _dict_to_config_dict(cfg: Any, scope: str | None = None, has_scope: bool = True) -> Any:
        # mmengine passes the whole inherited config first, and its values with the scope that it was called with.
        return original(cfg, cfg.get('default_scope') if scope == 'lckd_mm' else scope, has_scope=has_scope)

    return _dict_to_config_dict


@patch(
    'mmengine.config.config:Config',
    '_file2dict',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a config cannot inherit a distiller block of lckd_mm together with a student whose config has `custom_imports`, such as the '
    "ConvNeXt of mmdet and mmseg: 'Duplicate key is not allowed among bases'",
    until='mmengine joins the custom_imports of several bases',
)
def mmengine_custom_imports(original: Callable[..., Any]) -> Callable[..., Any]:
    """Import the modules that each base names, unless the config has other `custom_imports` of its own."""
    # For each file that is being read, the custom_imports of the bases that have been read.
    files: list[list[dict[str, Any]]] = []

    def _file2dict(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        files.append([])
        try:
            cfg_dict, *rest = original(*args, **kwargs)
        finally:
            bases = files.pop()
        if len(bases) > 1 and cfg_dict.get('custom_imports') == bases[0]:
            cfg_dict['custom_imports'] = _join_imports(bases)
        if files and 'custom_imports' in cfg_dict:
            imports = cfg_dict['custom_imports']
            # Only the first base keeps the key.
            if files[-1] or not imports:
                del cfg_dict['custom_imports']
            if imports:
                files[-1].append(imports)
        return (cfg_dict, *rest)

    return _file2dict


def _join_imports(bases: list[dict[str, Any]]) -> dict[str, Any]:
    modules: dict[str, None] = {}
    for base in bases:
        imports = base['imports']
        modules.update(dict.fromkeys([imports] if isinstance(imports, str) else imports))
    # What may fail for one base must not fail for all of them.
    may_fail = any(base.get('allow_failed_imports', False) for base in bases)
    return dict(imports=list(modules), allow_failed_imports=may_fail)


@patch(
    library='mmengine',
    versions='>=0.10,<1',
    onedl='',
    issue='none known',
    reason="'pkg_resources is deprecated' is printed for every inherited config, since mmengine reloads pkg_resources each time; the "
    'requirement setuptools<81 is the answer to the warning',
    until='mmengine uses importlib.metadata in place of pkg_resources',
)
def mmengine_pkg_resources_warning() -> None:
    """Ignore this warning."""
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')


@patch(
    'mmengine.config.config:Config',
    '_substitute_predefined_vars',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="a config with '{{ fileDirname }}' or the like cannot be read in a folder with a quote in its name, which ends the string: the "
    'rest of the name is executed as code',
    until='mmengine escapes the names that it inserts',
)
def mmengine_names_in_configs(original: Callable[..., None]) -> Callable[..., None]:
    """Insert names into Python configs with escaped quotes and backslashes."""

    def _substitute_predefined_vars(filename: str, temp_config_name: str) -> None:
        name = os.fspath(filename)
        if not name.endswith('.py') or not set(name) & set('\'"\n'):
            original(filename, temp_config_name)
            return
        stem, suffix = os.path.splitext(os.path.basename(name))
        values = dict(
            fileDirname=os.path.dirname(name),
            fileBasename=stem + suffix,
            fileBasenameNoExtension=stem,
            fileExtname=suffix,
        )
        with open(name, encoding='utf-8') as file:
            text = file.read()
        for key, value in values.items():
            escaped = ''.join(f'\\x{ord(char):02x}' if char in '\'"\n\\' else char for char in value)
            # A function as replacement: a string would be a template with backslashes.
            text = re.sub(rf'\{{\{{\s*{key}\s*\}}\}}', lambda _, escaped=escaped: escaped, text)  # type: ignore[misc]
        with open(temp_config_name, 'w', encoding='utf-8') as file:
            file.write(text)

    return _substitute_predefined_vars
