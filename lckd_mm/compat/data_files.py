"""Patches of the readers of data files: pickle, NumPy and YAML files of data sets, annotations and models are read as data."""

import os
import types
from collections.abc import Callable
from typing import Any

from ..pickles import UnsafePickleError, load_array, load_pickle, loads_pickle
from .patching import NumpyWith, patch

_UNTIL = 'the package reads such files as data'


class _PickleForReading(types.ModuleType):
    """`pickle` as the patched modules use it: it reads nothing but data."""

    load = staticmethod(load_pickle)
    loads = staticmethod(loads_pickle)

    def __getattr__(self, name: str) -> Any:
        import pickle

        return getattr(pickle, name)


@patch(
    'mmengine.fileio.handlers.pickle_handler',
    'pickle',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='mmengine executes code that a pickle file contains, such as an annotation file (`ann_file`, `split_file`) or `fix_subnet`',
    until=_UNTIL,
)
def mmengine_pickle_files(_: types.ModuleType) -> types.ModuleType:
    """Read pickle files as data."""
    return _PickleForReading('pickle')


@patch(
    # The modules that import the function by name.
    ('mmengine', 'mmengine.fileio', 'mmengine.fileio.io', 'mmengine.dataset.base_dataset', 'mmengine.config.config'),
    'load',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='the error about a pickle file that contains code does not name the file: the reader receives its content only',
    until='the patch mmengine_pickle_files is removed',
)
def mmengine_pickle_names(original: Callable[..., Any]) -> Callable[..., Any]:
    """Name the file."""

    def load(file: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(file, *args, **kwargs)
        except UnsafePickleError as error:
            name = file if isinstance(file, (str, os.PathLike)) else getattr(file, 'name', 'a pickle file')
            raise UnsafePickleError(error.request, str(name)) from error

    return load


@patch(
    'mmengine.fileio.handlers.yaml_handler',
    'Loader',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='mmengine executes code that a YAML file contains (`!!python/object/apply`), such as a metafile or `fix_subnet`',
    until=_UNTIL,
)
def mmengine_yaml_files(original: type) -> type:
    """Read YAML files with the loader that constructs data, tuples included."""
    import yaml

    return getattr(yaml, 'CFullLoader' if original.__name__ == 'CLoader' else 'FullLoader')


@patch(
    'mmpretrain.datasets.cifar',
    'pickle',
    library='mmpretrain',
    versions='>=1.0,<2',
    issue='none known',
    reason='CIFAR10 and CIFAR100 execute code that a file of the data set contains, in subclasses without checksums for example',
    until=_UNTIL,
)
def mmpretrain_cifar_files(_: types.ModuleType) -> types.ModuleType:
    """Read the files as data."""
    return _PickleForReading('pickle')


@patch(
    'mmseg.utils.io',
    'pickle',
    library='mmseg',
    versions='>=1.0,<2',
    issue='none known',
    reason="LoadBiomedicalData and LoadBiomedicalAnnotation with decode_backend='pickle' execute code that an image contains",
    until=_UNTIL,
)
def mmseg_pickle_files(_: types.ModuleType) -> types.ModuleType:
    """Read the files as data."""
    return _PickleForReading('pickle')


@patch(
    'mmdet.datasets.openimages',
    'np',
    library='mmdet',
    versions='>=3.0,<4',
    issue='none known',
    reason='OpenImagesChallengeDataset executes code that the hierarchy file contains: it reads it with allow_pickle=True',
    until=_UNTIL,
)
def mmdet_hierarchy_file(_: types.ModuleType) -> types.ModuleType:
    """Read the file as data."""
    return NumpyWith(load=load_array)
