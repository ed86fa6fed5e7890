"""Files of one JSON object per line, which survive a crash."""

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from .atomic_files import write_sentence
from .errors import FileWriteError

__all__ = ['append_json_line', 'read_json_lines']


def append_json_line(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Append an object to a file of one JSON object per line, and store it on the disk.

    The end of a line that a killed process began is removed first.

    Args:
        path (str | PathLike): The file.
        record (Mapping[str, Any]): The object.

    Raises:
        FileWriteError: The disk is full. The file has its previous lines.
    """
    with open(path, 'a+b', buffering=0) as file:
        # Other processes may append as well.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = file.read()
        last = content[content.rfind(b'\n') + 1 :]
        is_complete = not last or _parse(last) is not None
        size = len(content) if is_complete else len(content) - len(last)
        line = (b'\n' if last and is_complete else b'') + json.dumps(record).encode() + b'\n'
        try:
            file.truncate(size)
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                file.truncate(size)
            raise FileWriteError(write_sentence(path, error)) from error


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    r"""Read a file of one JSON object per line. Damaged lines, which a killed process leaves, are omitted, and a line on stderr names them.

    Args:
        path (str | PathLike): The file.

    Returns:
        list[dict[str, Any]]: The objects; empty if there is no such file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, 'results.jsonl')
        ...     append_json_line(path, {'seed': 0})
        ...     append_json_line(path, {'seed': 1})
        ...     read_json_lines(path)
        [{'seed': 0}, {'seed': 1}]
    """
    if not os.path.exists(path):
        return []
    with open(path, 'rb') as file:
        lines = [line for line in file.read().split(b'\n') if line.strip()]
    records = [_parse(line) for line in lines]
    damaged = [index + 1 for index, record in enumerate(records) if record is None]
    if damaged:
        # Some commands suppress warnings of libraries.
        print(
            f'{path}: line {", ".join(map(str, damaged))} of {len(lines)} is incomplete, as an interrupted command leaves it, and is '
            'omitted; its result is computed again where it is needed.',
            file=sys.stderr,
        )
    return [record for record in records if record is not None]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
