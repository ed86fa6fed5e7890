"""Patches that let configs and code for mmcls work with mmpretrain.

mmpretrain 1.0 is mmcls 1.0.0rc6 under another name. MMRazor 1.0 and its configs still use the name mmcls. The patches are not
applied where mmcls itself is installed.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from .patching import patch

_OLD, _NEW = 'mmcls', 'mmpretrain'

# Classes that mmpretrain renamed.
_CLASSES = {'ClsDataSample': 'DataSample', 'ClsVisualizer': 'UniversalVisualizer', 'PackClsInputs': 'PackInputs'}

# Modules that mmpretrain renamed.
_MODULES = {
    'mmcls.structures.cls_data_sample': 'mmpretrain.structures.data_sample',
    'mmcls.visualization.cls_visualizer': 'mmpretrain.visualization.visualizer',
}


@functools.cache
def _is_missing() -> bool:
    """Return whether no package mmcls is installed; the first call is before mmpretrain receives this name."""
    return importlib.util.find_spec(_OLD) is None


@patch(
    library='mmpretrain',
    versions='>=1.0,<2',
    issue='open-mmlab/mmrazor#632',
    reason="mmrazor imports mmcls, which is mmpretrain since 2023: without it, 'mmcls is not installed properly' for KDSoftCELoss, "
    'DeiTClsHead, PackCRDClsInputs and others; functions that configs name by module, mmcls.models.utils.Augments, are not found',
    until='an mmrazor after 1.0.0 imports mmpretrain',
    is_needed=_is_missing,
)
def mmcls_modules() -> None:
    """Let ``import mmcls`` and its submodules return views of mmpretrain's modules."""
    # In front of the other finders, which would load `mmcls.models.losses` from mmpretrain's folder a second time.
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of mmpretrain under the name mmcls."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition('.')[0] != _OLD or self._is_installed_package():
            return None
        source = importlib.util.find_spec(_MODULES.get(fullname, _NEW + fullname.removeprefix(_OLD)))
        if source is None:
            return None
        # Some modules of mmengine take the folder of a package from the origin.
        return importlib.machinery.ModuleSpec(fullname, _Loader(source.name), origin=source.origin, is_package=True)

    @staticmethod
    def _is_installed_package() -> bool:
        """Return whether a package mmcls can be imported after all, from a folder that was added to ``sys.path`` for example."""
        imported = sys.modules.get(_OLD)
        if imported is not None:
            return not isinstance(imported, _View)
        return importlib.machinery.PathFinder.find_spec(_OLD) is not None


class _Loader(importlib.abc.Loader):
    """Creates the view of a module."""

    def __init__(self, source: str) -> None:
        self.source = source

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _View(spec.name, importlib.import_module(self.source))

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: the module is a view of an imported one."""


class _View(types.ModuleType):
    """A module under another name: attributes are read from it and set on it."""

    def __init__(self, name: str, source: types.ModuleType) -> None:
        super().__init__(name, source.__doc__)
        self.__dict__.update(_source=source, __path__=[])

    def __getattr__(self, name: str) -> Any:
        source = self.__dict__['_source']
        return getattr(source, name if hasattr(source, name) else _CLASSES.get(name, name))

    def __setattr__(self, name: str, value: Any) -> None:
        source = self.__dict__['_source']
        if isinstance(value, _View):
            # Python sets a submodule that was imported, which a function of the same name has replaced in some packages.
            if isinstance(getattr(source, name, value), types.ModuleType):
                super().__setattr__(name, value)
        elif name.startswith('__') and name.endswith('__'):
            super().__setattr__(name, value)
        else:
            # MMRazor's recorders replace functions.
            setattr(source, name, value)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__['_source'])


@patch(
    'mmengine.registry.default_scope:DefaultScope',
    '__init__',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="_scope_='mmcls', default_scope='mmcls' and cfg_path='mmcls::...' find no registry, so that mmengine uses another one: "
    'ImageClassifier is not in the mmengine::model registry',
    until='mmengine has aliases of scopes',
    is_needed=_is_missing,
)
def mmcls_scope(original: Callable[..., None]) -> Callable[..., None]:
    """Let the scope mmcls be mmpretrain."""

    def __init__(self: Any, name: str, scope_name: str) -> None:  # noqa: N807  (replaces this method)
        original(self, name, _NEW if scope_name == _OLD else scope_name)

    return __init__


@patch(
    'mmengine.registry:Registry',
    'split_scope_key',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="types with this scope, 'mmcls.LabelSmoothLoss', are not in any registry",
    until='mmengine has aliases of scopes',
    is_needed=_is_missing,
)
def mmcls_scoped_types(original: Callable[[str], tuple[str | None, str]]) -> Callable[[str], tuple[str | None, str]]:
    """Let the prefix mmcls of a type be mmpretrain."""

    def split_scope_key(key: str) -> tuple[str | None, str]:
        scope, name = original(key)
        return _NEW if scope == _OLD else scope, name

    return split_scope_key


@patch(
    'mmengine.config.utils:MODULE2PACKAGE',
    _OLD,
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="configs cannot inherit 'mmcls::path.py', nor name it as cfg_path: mmcls is not installed",
    until='mmengine maps mmcls to mmpretrain',
    is_needed=_is_missing,
)
def mmcls_config_package(_: str) -> str:
    """Read the configs of mmcls from mmpretrain."""
    return _NEW


@patch(
    library='mmpretrain',
    versions='>=1.0,<2',
    issue='none known',
    reason='types that mmpretrain renamed are not in its registries: PackClsInputs, which the data pipelines of mmcls configs end with, '
    'and ClsVisualizer',
    until='mmpretrain registers them under their previous names as well',
    is_needed=_is_missing,
)
def mmcls_renamed_types() -> None:
    """Register the types under their previous names as well."""
    from mmpretrain.datasets.transforms import PackInputs
    from mmpretrain.registry import TRANSFORMS, VISUALIZERS
    from mmpretrain.visualization import UniversalVisualizer

    for registry, module in ((TRANSFORMS, PackInputs), (VISUALIZERS, UniversalVisualizer)):
        name = next(old for old, new in _CLASSES.items() if new == module.__name__)
        if name not in registry.module_dict:
            registry.register_module(name=name, module=module)
