"""Reading of pickle files as data: nothing in a file is ever executed.

Data sets and annotations of OpenMMLab come as pickle files too. :mod:`lckd_mm.compat` lets the packages read them through this module.
"""

import collections
import datetime
import functools
import io
import math
import pathlib
import pickle
from typing import Any

import numpy as np
import torch

from .checkpoint import _CheckedArray, _CheckedDtype, _convert, _new_scalar, load_data
from .errors import ConfigError

__all__ = ['UnsafePickleError', 'load_array', 'load_pickle', 'loads_pickle']

_BUILTINS = (
    bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, range, set, slice, str, tuple,
)  # fmt: skip
_CLASSES = (
    *(collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(pathlib.Path, pathlib.PosixPath, pathlib.PurePath, pathlib.PurePosixPath, torch.Size, torch.device),
)


class UnsafePickleError(ConfigError, pickle.UnpicklingError):
    """A pickle file requests something that is not data, a function call for example.

    Args:
        request (str): What the file requests.
        name (str): Name of the file. Defaults to ``'a pickle file'``.
    """

    def __init__(self, request: str, name: str = 'a pickle file') -> None:
        super().__init__(
            f'{name} requests {request}, but such a file may contain only data (numbers, strings, lists, dicts, arrays, tensors): it '
            'was refused and nothing in it was executed; ask its author for a file with plain data, JSON for example.'
        )
        self.request = request

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker of a data loader passes the message on.
        return UnsafePickleError, (self.request,), self.__dict__ | {'args': self.args}


def load_pickle(file: Any, **options: Any) -> Any:
    """Read a pickle file without executing anything in it.

    Args:
        file (Any): A binary file.
        **options: ``encoding`` and ``errors`` as in ``pickle.load``, for files of Python 2.

    Returns:
        Any: The content.

    Raises:
        UnsafePickleError: The file requests something that is not data.

    Example:
        >>> load_pickle(io.BytesIO(pickle.dumps(dict(boxes=np.zeros((1, 4)), labels={3}))))
        {'boxes': array([[0., 0., 0., 0.]]), 'labels': {3}}
    """
    data = _DataUnpickler(file, **options).load()
    return _convert(data, _plain_array)


def _plain_array(value: Any) -> Any:
    """Return an array that was read as a plain one, and other values as they are."""
    if not isinstance(value, _CheckedArray):
        return value
    array = value.view(np.ndarray)
    if array.dtype.kind == 'O':
        for index, element in np.ndenumerate(array):
            array[index] = _convert(element, _plain_array)
    return array


def loads_pickle(content: bytes, **options: Any) -> Any:
    """Read pickled bytes as :func:`load_pickle` reads a file.

    Args:
        content (bytes): The bytes.
        **options: As in :func:`load_pickle`.

    Returns:
        Any: The content.
    """
    return load_pickle(io.BytesIO(content), **options)


def load_array(file: Any, **options: Any) -> Any:
    """Read a file of ``numpy.save``, Python objects in an array included, without executing anything in it.

    Args:
        file (Any): A path or a binary file.
        **options: Options of ``numpy.load``; ``allow_pickle`` has no effect.

    Returns:
        Any: The array, or the arrays of an ``npz`` file.

    Raises:
        UnsafePickleError: The file requests something that is not data.
    """
    if hasattr(file, 'read'):
        return _read_array(file, **options)
    try:
        with open(file, 'rb') as opened:
            return _read_array(opened, **options)
    except UnsafePickleError as error:
        raise UnsafePickleError(error.request, str(file)) from error


def _read_array(file: Any, **options: Any) -> Any:
    start = file.tell()
    # An npz file contains several arrays, which numpy reads on demand.
    if file.read(2) == b'PK':
        file.seek(start)
        return dict(np.load(file, **{**options, 'allow_pickle': False}))
    file.seek(start)
    if file.read(6) == b'\x93NUMPY':
        version = np.lib.format.read_magic(_rewound(file, start))
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        if read_header(file)[2].hasobject:
            return load_pickle(file)
    return np.load(_rewound(file, start), **{**options, 'allow_pickle': False})


def _rewound(file: Any, position: int) -> Any:
    file.seek(position)
    return file


class _DataDtype(_CheckedDtype):
    """Accepts the dtype of an array of Python objects as well, whose elements are read as data too."""

    def __init__(self, name: str, *options: Any) -> None:
        if name == 'O8':
            self.dtype = np.dtype('O')
        else:
            super().__init__(name, *options)


class _DataArray(_CheckedArray):
    """Reads arrays of Python objects, and those of Python 2, whose bytes pickle decodes with the encoding 'latin1'."""

    _is_set = False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, is_fortran, data = state
        if self._is_set:
            # numpy would free the memory, which other arrays of the file may share.
            raise UnsafePickleError('a second state of an array')
        self._is_set = True
        if isinstance(data, list) and math.prod(shape) != len(data):
            # numpy does not count the objects.
            raise UnsafePickleError(f'an array of the shape {shape} with {len(data)} objects')
        if isinstance(dtype, _DataDtype) and dtype.dtype.kind == 'O' and isinstance(data, list):
            np.ndarray.__setstate__(self, (version, shape, dtype.dtype, is_fortran, data))
            return
        super().__setstate__(
            (version, shape, dtype, is_fortran, data.encode('latin1') if isinstance(data, str) else data)
        )


def _new_array(*_: Any) -> _DataArray:
    return _DataArray()


def _from_buffer(buffer: Any, dtype: _DataDtype, shape: Any, order: Any, axis_order: Any = None) -> Any:
    """Replaces numpy's `_frombuffer`, by which protocol 5 stores contiguous arrays."""
    if not isinstance(buffer, (bytes, bytearray)):
        raise UnsafePickleError(f'an array in the memory of a {type(buffer).__name__}')
    array = np.frombuffer(buffer, dtype.dtype)
    if order == 'K' and axis_order is not None:
        return array.reshape(shape, order='C').transpose(axis_order)
    return array.reshape(shape, order=order)


def _encode(text: str, encoding: str) -> bytes:
    """Replaces `_codecs.encode`, by which protocol 2 stores bytes."""
    return text.encode('latin1')


def _load_storage(content: bytes) -> Any:
    """Replaces torch's `_load_from_bytes`, which unpickles the storage of a tensor."""
    return load_data(io.BytesIO(content), 'cpu')


class _Call:
    """Stands for a class or a function in a file, which can call it but not change its attributes."""

    __slots__ = ('_function',)
    _function: Any

    def __init__(self, function: Any) -> None:
        object.__setattr__(self, '_function', function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnsafePickleError(f'a new attribute {name!r} of {self._function.__qualname__}')


class _Fixed(type):
    """The type of classes whose attributes a file cannot change."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise UnsafePickleError(f'a new attribute {name!r} of {cls.__qualname__}')


class _DataElement(dict, metaclass=_Fixed):
    """Stands for a data element of mmengine, such as the proposals that mmdet writes: a dict of its fields."""

    def __setstate__(self, state: Any) -> None:
        attributes = state[0] if isinstance(state, tuple) else state
        names = attributes.get('_data_fields', ()) if isinstance(attributes, dict) else ()
        self.update({name: attributes[name] for name in names})


@functools.lru_cache(maxsize=1)
def _names() -> dict[str, Any]:
    """Return what each accepted name in a file stands for."""
    # Python lets nobody change its built-in types.
    return {
        name: value if value in _BUILTINS or not callable(value) or value is _DataElement else _Call(value)
        for name, value in _values().items()
    }


def _values() -> dict[str, Any]:
    multiarrays = ('numpy.core.multiarray', 'numpy._core.multiarray')
    builtins = {f'{module}.{kind.__name__}': kind for kind in _BUILTINS for module in ('builtins', '__builtin__')}
    dtypes = {f'torch.{name}': value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
    return {
        **builtins,
        **{f'{kind.__module__}.{kind.__qualname__}': kind for kind in _CLASSES},
        **{f'pathlib.{kind.__name__}': kind for kind in _CLASSES if issubclass(kind, pathlib.PurePath)},
        **dtypes,
        **{f'{multiarray}._reconstruct': _new_array for multiarray in multiarrays},
        **{f'{multiarray}.scalar': _new_scalar for multiarray in multiarrays},
        **{f'{numeric}._frombuffer': _from_buffer for numeric in ('numpy.core.numeric', 'numpy._core.numeric')},
        'numpy.ndarray': _DataArray,
        'mmengine.structures.instance_data.InstanceData': _DataElement,
        'numpy.dtype': _DataDtype,
        '_codecs.encode': _encode,
        'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
        'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
        'torch.storage._load_from_bytes': _load_storage,
    }


class _DataUnpickler(pickle.Unpickler):
    """Unpickles nothing but data."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _names()[f'{module}.{name}']
        except KeyError:
            raise UnsafePickleError(f'{module}.{name}') from None
