"""Reading and writing of checkpoints as data: nothing in a checkpoint is ever executed.

The reader is ``torch.load(weights_only=True)`` with a table of replacements for the additional names in mmengine's own checkpoints
(histories, numpy arrays). Every other name in a file is refused. :mod:`lckd_mm.compat` lets mmengine read and write through it.
"""

import contextlib
import functools
import os
import re
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .atomic_files import replacing
from .errors import CheckpointError, UnreadableCheckpointError, UnsafeCheckpointError
from .safe_globals import only_safe_globals

__all__ = [
    'CheckpointError',
    'UnreadableCheckpointError',
    'UnsafeCheckpointError',
    'history_from_data',
    'load_data',
    'save_data',
]


# ----------------------------------------------------------------------------------------------------------------------
# Reading
# ----------------------------------------------------------------------------------------------------------------------


def load_data(file: Any, map_location: Any = None, mmap: bool = False) -> Any:
    """Read a checkpoint without executing anything in it.

    Args:
        file (Any): A path or a binary file.
        map_location (Any): As in ``torch.load``. Defaults to None.
        mmap (bool): Whether the tensors of a file are read only where they are used, if its format allows it. Defaults to False.

    Returns:
        Any: The content of the file.

    Raises:
        UnsafeCheckpointError: The file requests something that is not data.
        UnreadableCheckpointError: The file is damaged or is not a checkpoint.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> save_data(dict(epoch=3), file)
        >>> _ = file.seek(0)
        >>> load_data(file)
        {'epoch': 3}
    """
    try:
        with only_safe_globals(_safe_globals()), warnings.catch_warnings():
            # torch announces that it dispatches TorchScript archives to torch.jit.load, and then refuses them.
            warnings.filterwarnings('ignore', message='.*looks like a TorchScript archive')
            mmap = mmap and zipfile.is_zipfile(file)
            data = torch.load(file, map_location=map_location, weights_only=True, mmap=mmap)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        name = os.fspath(file) if isinstance(file, (str, os.PathLike)) else getattr(file, 'name', 'the checkpoint')
        raise _checkpoint_error(str(name), error) from error
    return _convert(data, lambda value: np.array(value) if isinstance(value, np.ndarray) else value)


def _checkpoint_error(name: str, error: Exception) -> CheckpointError:
    """Return the error that explains why torch's reader refused a file."""
    request = _unsafe_request(error)
    if request:
        return UnsafeCheckpointError(
            f'{name} {request}, but a checkpoint may contain only data (tensors, numbers, strings, lists, dicts): the '
            "file was refused and nothing in it was executed; ask its author for a file with the 'state_dict' only."
        )
    # The beginning and the end of torch's message recommend disabling the safe reader, which is wrong here.
    reason = str(error).split('WeightsUnpickler error:')[-1].split('Check the documentation')[0]
    return UnreadableCheckpointError(
        f'{name} cannot be read as a checkpoint ({type(error).__name__}: {" ".join(reason.split())}): the file is damaged, '
        'incomplete or not a checkpoint; download or copy it again.'
    )


def _unsafe_request(error: Exception) -> str:
    """Return what a refused file requested, or an empty string if the file was only unreadable."""
    message = str(error)
    if isinstance(error, _NotDataError):
        return f'requests {message}'
    match = re.search(r'GLOBAL (\S+)', message) or re.search(r'unrecognized function (.+)', message)
    if match is not None:
        # torch omits the prefix 'builtins.'.
        return f'requests {"" if "." in match.group(1) else "builtins."}{match.group(1)}'
    if 'TorchScript' in message or 'legacy .tar' in message:
        return 'is a TorchScript archive or has the .tar format of torch before 0.1.10'
    return ''


class _NotDataError(Exception):
    """The message names an object in a checkpoint that is not data."""


class _CheckedDtype:
    """Replaces `numpy.dtype`: only numbers, strings and times; other types contain pointers, which must not come from a file."""

    def __init__(self, name: str, *_: Any) -> None:
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in 'biufcSU?mM':
            raise _NotDataError(f'numpy.dtype({name!r})')

    def __setstate__(self, state: tuple) -> None:
        # The state is (version, byte order, sub-array, names, fields, ...); that of a time ends with (metadata, (unit, number, ...)).
        self.dtype = self.dtype.newbyteorder(state[1])
        if self.dtype.kind in 'mM' and (unit := state[-1][1])[0] != b'generic':
            self.dtype = np.dtype(f'{self.dtype.str}[{unit[1]}{unit[0].decode()}]')


class _CheckedArray(np.ndarray):
    """Replaces `numpy.ndarray` in the reader: the content is checked. `load_data` converts it to a plain array."""

    def __new__(cls) -> '_CheckedArray':
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: tuple) -> None:  # type: ignore[override]  # numpy's stub has a narrower tuple.
        version, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _CheckedDtype) or not isinstance(data, bytes):
            raise _NotDataError('a numpy array of Python objects')
        super().__setstate__((version, shape, dtype.dtype, is_fortran, data))


def _new_array(*_: Any) -> _CheckedArray:
    """Replaces numpy's `_reconstruct`."""
    return _CheckedArray()


def _new_scalar(dtype: _CheckedDtype, data: bytes) -> Any:
    """Replaces numpy's `scalar`."""
    return np.frombuffer(data, dtype.dtype, count=1)[0]


def _no_attribute(*_: Any) -> None:
    """Replaces `getattr`: a HistoryBuffer stores its methods by it, which the reader does not take from a file."""


def _no_bytes() -> bytes:
    """Replaces `bytes`: an empty array stores its content as `bytes()`."""
    return b''


@functools.lru_cache(maxsize=1)
def _safe_globals() -> tuple[tuple[Any, str], ...]:
    """Return the names that mmengine's checkpoints contain beyond torch's own, with their replacements.

    Returns:
        tuple[tuple[Any, str], ...]: Pairs of a replacement and a full name, for ``torch.serialization.safe_globals``.
    """
    from mmengine.logging import HistoryBuffer

    class CheckedHistory(HistoryBuffer):
        """Replaces `HistoryBuffer` in the reader: takes only the numbers from the file."""

        def __setstate__(self, state: dict) -> None:
            buffer = _history(state['_log_history'], state['_count_history'], int(state['max_length']))
            self.__dict__.update(buffer.__dict__)
            self.__class__ = HistoryBuffer

    multiarrays = ('numpy.core.multiarray', 'numpy._core.multiarray')
    return (
        (CheckedHistory, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_no_attribute, 'builtins.getattr'),
        (_no_bytes, 'builtins.bytes'),
        (dict, 'mmengine.config.config.ConfigDict'),
        # The class of a function in the state of OneCycleLR, which is read as None and not loaded; see lckd_mm.compat.mmengine_schedulers.
        (_no_attribute, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
        (_CheckedArray, 'numpy.ndarray'),
        (_CheckedDtype, 'numpy.dtype'),
        *((_new_array, f'{multiarray}._reconstruct') for multiarray in multiarrays),
        *((_new_scalar, f'{multiarray}.scalar') for multiarray in multiarrays),
    )


def _history(log_history: Any, count_history: Any, max_length: int) -> Any:
    """Return a `HistoryBuffer` with copies of these arrays."""
    from mmengine.logging import HistoryBuffer

    buffer = HistoryBuffer(max_length=max_length)
    buffer._log_history = np.array(log_history)
    buffer._count_history = np.array(count_history)
    return buffer


# ----------------------------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------------------------


def save_data(data: Any, file: Any, **options: Any) -> None:
    """Write a checkpoint of plain data, which ``torch.load(file, weights_only=True)`` reads. A path receives a complete file or none.

    Histories become dicts of tensors, numpy arrays lists, numpy scalars numbers, config dicts dicts, and paths strings. A
    warning lists the types that cannot be converted.

    Args:
        data (Any): The content of the checkpoint, which is not modified.
        file (Any): A path or a binary file.
        **options: Further options of ``torch.save``.

    Raises:
        FileWriteError: The disk is full.
    """
    foreign_types: set[str] = set()
    plain = _convert(data, functools.partial(_plain, foreign_types=foreign_types))
    is_path = isinstance(file, (str, os.PathLike))
    with replacing(file) if is_path else contextlib.nullcontext(file) as target:
        torch.save(plain, target, **options)
    if foreign_types:
        from mmengine.logging import print_log

        print_log(
            f'The checkpoint contains objects that are not plain data ({", ".join(sorted(foreign_types))}), and will be '
            'refused when it is loaded: keep such objects out of the message hub, the meta information and the state '
            'dicts.',
            logger='current',
            level=30,
        )


def history_from_data(value: Any) -> Any:
    """Return the `HistoryBuffer` that `save_data` wrote as a dict of tensors; other values are returned unchanged."""
    if not isinstance(value, dict) or set(value) != {'log_history', 'count_history', 'max_length'}:
        return value
    # `_history` copies the tensors: the checkpoint may be memory-mapped or shared.
    return _history(value['log_history'].cpu().numpy(), value['count_history'].cpu().numpy(), value['max_length'])


_CONTAINERS = (dict, list, tuple, set, frozenset)
_PLAIN_TYPES = (
    *(str, bytes, bool, int, float, complex, type(None)),
    *(torch.Tensor, torch.Size, torch.dtype, torch.device),
)


def _plain(value: Any, foreign_types: set[str]) -> Any:
    """Return a value as plain data; add its type to `foreign_types` if that is impossible."""
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer

    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        # Tensors preserve every bit and the dtype.
        return dict(
            log_history=torch.from_numpy(np.array(log)),
            count_history=torch.from_numpy(np.array(count)),
            max_length=value.max_length,
        )
    if isinstance(value, ConfigDict):
        return value.to_dict()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, (*_PLAIN_TYPES, *_CONTAINERS)):
        foreign_types.add(f'{type(value).__module__}.{type(value).__qualname__}')
    return value


def _convert(value: Any, convert_leaf: Callable[[Any], Any]) -> Any:
    """Apply a function to all values in nested containers; containers without a changed value stay the same objects."""
    value = convert_leaf(value)
    if isinstance(value, dict):
        return _convert_dict(value, convert_leaf)
    if isinstance(value, _CONTAINERS) and not isinstance(value, torch.Size):
        items = [_convert(item, convert_leaf) for item in value]
        if type(value) in (list, tuple, set) and all(old is new for old, new in zip(value, items)):
            return value
        kind = next(kind for kind in _CONTAINERS if isinstance(value, kind))
        return set(items) if kind is frozenset else kind(items)
    return value


def _convert_dict(value: dict, convert_leaf: Callable[[Any], Any]) -> dict:
    items = [(convert_leaf(key), _convert(item, convert_leaf)) for key, item in value.items()]
    is_unchanged = all(old is new for pair in zip(value.items(), items) for old, new in zip(*pair))
    if is_unchanged and type(value) in (dict, OrderedDict, Counter):
        return value
    if not isinstance(value, OrderedDict):
        return dict(items)
    ordered = OrderedDict(items)
    # A state dict has the versions of its modules in the attribute `_metadata`.
    ordered.__dict__.update(value.__dict__)
    return ordered
