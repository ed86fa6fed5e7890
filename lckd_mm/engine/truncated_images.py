"""Detection of image files whose end is missing, at the moment when a data set reads them."""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import mmengine.fileio
from mmengine.logging import print_log

__all__ = ['TruncatedImages', 'is_truncated', 'truncated_reads']

_PNG_START = b'\x89PNG\r\n\x1a\n'
_JPEG_START, _JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
# Markers of JPEG: start of scan, the first compressed pixels.
_START_OF_SCAN = 0xDA


def is_truncated(content: bytes) -> bool:
    """Return whether the end of a JPEG or PNG file is missing.

    OpenCV 4 decodes the first part of such a JPEG and fills the rest with gray, without an error; OpenCV 5 rejects it. Bytes
    after the end of the image, which cameras and file systems append, are valid.

    Args:
        content (bytes): The content of a file. Other formats are never truncated.

    Returns:
        bool: Whether the marker of the end is missing.

    Example:
        >>> is_truncated(bytes.fromhex('ffd8ff da0002 01020304 ffd9 0000'))
        False
        >>> is_truncated(bytes.fromhex('ffd8ff da0002 0102'))
        True
    """
    if content.startswith(_PNG_START):
        return content.rfind(b'IEND') < 0
    if not content.startswith(_JPEG_START):
        return False
    # A thumbnail in the header has an end of its own.
    return content.rfind(_JPEG_END, _end_of_jpeg_header(content)) < 0


def _end_of_jpeg_header(content: bytes) -> int:
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _START_OF_SCAN:
            return position
        # A marker can be preceded by any number of 0xFF.
        if marker == 0xFF:
            position += 1
        else:
            position += 2 + int.from_bytes(content[position + 2 : position + 4], 'big')
    return min(position, len(content))


class TruncatedImages:
    """The truncated image files that a data set reads: each is logged once, and listed in a file.

    The list is shared by the worker processes and by the epochs.

    Args:
        list_path (str, optional): The list, one path a line. If None, there is no list.

    Example:
        >>> TruncatedImages().paths()
        []
    """

    def __init__(self, list_path: str | None = None) -> None:
        self.list_path = list_path
        self._known: set[str] = set()

    def paths(self) -> list[str]:
        """Return the files in the list.

        Returns:
            list[str]: The paths in the order in which they were read.
        """
        if self.list_path is None or not os.path.exists(self.list_path):
            return []
        with open(self.list_path, encoding='utf-8') as file:
            return list(dict.fromkeys(file.read().splitlines()))

    def report(self, path: str) -> None:
        """Log a file and add it to the list, unless this happened before.

        Args:
            path (str): Path of the file.
        """
        if path in self._known:
            return
        self._known.add(path)
        # Another worker process, or one of an earlier epoch, may have reported it.
        if path in self.paths():
            return
        if self.list_path is not None:
            os.makedirs(os.path.dirname(self.list_path) or '.', exist_ok=True)
            with open(self.list_path, 'a', encoding='utf-8') as file:
                file.write(f'{path}\n')
        print_log(
            f'the image file {path!r} is truncated, and its missing part is read as a uniform color: replace the file, or '
            'remove it from the list of images.',
            logger='current',
            level=logging.WARNING,
        )


@contextlib.contextmanager
def truncated_reads() -> Iterator[list[str]]:
    """Check all files that this thread reads with ``mmengine.fileio.get``, whatever their storage backend.

    The loading transforms of the OpenMMLab packages read their images and masks with it.

    Yields:
        list[str]: The truncated image files that were read so far in the context.

    Example:
        >>> with truncated_reads() as paths:
        ...     content = mmengine.fileio.get('/dev/null')
        >>> paths
        []
    """
    _watch_reads()
    paths: list[str] = []
    token = _active.set(paths)
    try:
        yield paths
    finally:
        _active.reset(token)


_active: ContextVar[list[str] | None] = ContextVar('truncated_reads', default=None)


def _watch_reads() -> None:
    """Let ``mmengine.fileio.get`` check what it reads in such a context; it is replaced once in a process."""
    get: Callable[..., bytes] = mmengine.fileio.get
    if hasattr(get, 'checks_truncation'):
        return

    @functools.wraps(get)
    def checked_get(filepath: Any, *args: Any, **kwargs: Any) -> bytes:
        content = get(filepath, *args, **kwargs)
        paths = _active.get()
        if paths is not None and is_truncated(content):
            paths.append(str(filepath))
        return content

    checked_get.checks_truncation = True  # type: ignore[attr-defined]
    mmengine.fileio.get = checked_get
