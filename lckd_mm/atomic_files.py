"""Files that are complete or absent.

Nothing here needs another package, so that every module of lckd_mm can use it. :mod:`lckd_mm.compat` lets mmengine write its local files
through :func:`open_atomically`.
"""

import builtins
import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import ConfigValueError, FileWriteError

__all__ = [
    'check_overwriting',
    'is_full_disk',
    'open_atomically',
    'replacing',
    'write_sentence',
    'write_text',
]

SUFFIX = '.tmp'
"""Suffix of a file that is being written. That of a killed process is replaced when the file is written again."""

# No space, a quota, a limit of the file system or of the process on the size of a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Let a block write a file, which appears under its name only when it is complete and stored on the disk.

    Whatever interrupts the block (an exception, a signal, a full disk, SIGKILL), an existing file of this name keeps its content.

    Args:
        path (str | PathLike): The file. A link stays one, and its target is replaced. A device such as ``/dev/stdout`` is written directly.

    Yields:
        Path: The temporary file in the same folder, which the block writes.

    Raises:
        FileWriteError: The disk is full. The temporary file is deleted.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, 'a.txt')
        ...     with replacing(path) as temporary:
        ...         _ = temporary.write_text('new')
        ...         path.exists()
        ...     path.read_text()
        False
        'new'
    """
    target = Path(os.path.realpath(path))
    # `/dev/stdout` is a link, to a regular file if the output is redirected.
    is_stream = os.path.abspath(path).startswith('/dev/') and os.path.islink(path)
    if is_stream or (target.exists() and not target.is_file()):
        yield Path(path)
        return
    temporary = target.with_name(target.name + SUFFIX)
    try:
        descriptor = _lock_new(temporary)
        try:
            yield temporary
            os.fsync(descriptor)
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(descriptor)
    except Exception as error:
        if is_full_disk(error):
            raise FileWriteError(write_sentence(target, error)) from error
        raise
    _sync_folder(target.parent)


def _lock_new(path: Path) -> int:
    """Create or empty a file, and lock it until its descriptor is closed: of two processes, the second waits for the first."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # Some network file systems have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            # The process that had the lock may have renamed the file.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Store the new name of a file on the disk; some file systems do so themselves and refuse it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike, mode: str = 'r', **options: Any) -> Iterator[Any]:
    """Open a file as the built-in ``open`` does; one that is opened for writing appears under its name when the block ends.

    Args:
        path (str | PathLike): The file.
        mode (str): As in ``open``. Files that are read or extended are opened as usual. Defaults to ``'r'``.
        **options: Further options of ``open``.

    Yields:
        IO: The file.

    Raises:
        FileWriteError: The disk is full.
    """
    if not mode.startswith('w'):
        with builtins.open(path, mode, **options) as file:
            yield file
        return
    with replacing(path) as temporary, builtins.open(temporary, mode, **options) as file:
        yield file


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file, which has its previous content or the new one at any time.

    Args:
        path (str | PathLike): The file.
        text (str): Its content.

    Raises:
        FileWriteError: The disk is full.
    """
    with open_atomically(path, 'w', encoding='utf-8') as file:
        file.write(text)


def is_full_disk(error: BaseException) -> bool:
    """Return whether an exception is that of a file which finds no space.

    Args:
        error (BaseException): The exception.

    Returns:
        bool: Whether it is.

    Example:
        >>> is_full_disk(OSError(errno.ENOSPC, 'No space left on device')), is_full_disk(OSError(errno.ENOENT, 'No such file'))
        (True, False)
    """
    # torch writes files in C++, and knows only that a part of the data is missing.
    is_of_torch = isinstance(error, RuntimeError) and re.search(
        r'PytorchStreamWriter failed|unexpected pos \d', str(error)
    )
    return (isinstance(error, OSError) and error.errno in _FULL) or bool(is_of_torch)


def write_sentence(path: str | os.PathLike, error: BaseException) -> str:
    """Return the sentence for a file that cannot be written.

    Args:
        path (str | PathLike): The file.
        error (BaseException): The exception.

    Returns:
        str: The sentence with the free space.
    """
    folder = os.path.dirname(os.path.realpath(path))
    with contextlib.suppress(OSError):
        free = f', {shutil.disk_usage(folder).free / 2**20:.1f} MiB are free in {folder!r}'
        reason = getattr(error, 'strerror', None) or 'no space is left'
        return (
            f'{os.fspath(path)!r} cannot be written ({reason}{free}): delete files, or choose a folder on another disk; all files that '
            'were complete before are unchanged.'
        )
    return f'{os.fspath(path)!r} cannot be written ({error}): all files that were complete before are unchanged.'


def check_overwriting(option: str, path: str | os.PathLike, inputs: Mapping[str, str | os.PathLike | None]) -> None:
    """Check that a file to be written is none of those that a command reads.

    Args:
        option (str): The argument that names the file, for the message.
        path (str | PathLike): The file.
        inputs (Mapping[str, str | PathLike | None]): The files that are read, by the arguments that name them; None and names that are no
            file are ignored.

    Raises:
        ConfigValueError: It is the same file, perhaps by another path.

    Example:
        >>> check_overwriting('OUT', 'a.pth', {'CHECKPOINT': 'b.pth'})
        >>> check_overwriting('OUT', './a.pth', {'CHECKPOINT': 'a.pth'})
        Traceback (most recent call last):
            ...
        lckd_mm.errors.ConfigValueError: OUT './a.pth' is the file of CHECKPOINT ('a.pth'), which would be lost: choose another path.
    """
    for name, source in inputs.items():
        if source is not None and _is_same_file(path, source):
            raise ConfigValueError(
                f'{option} {os.fspath(path)!r} is the file of {name} ({os.fspath(source)!r}), which would be lost: choose another path.'
            )


def _is_same_file(path: str | os.PathLike, other: str | os.PathLike) -> bool:
    with contextlib.suppress(OSError, ValueError):
        if os.path.isfile(path):
            return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)
