"""The lines of scalars that mmengine's local backend has written before a training was interrupted."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lckd_mm.atomic_files import write_text


def remove_repeated_lines(folders: Iterable[Path], is_kept: Callable[[dict[str, Any]], bool]) -> int:
    r"""Remove the lines that a resumed training writes again from the JSON files of ``vis_data``, and incomplete lines.

    Args:
        folders (Iterable[Path]): The log folders of the interrupted processes.
        is_kept (Callable[[dict[str, Any]], bool]): Whether a line stays, which receives its scalars.

    Returns:
        int: The number of removed lines.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'run' / 'vis_data' / 'scalars.json'
        ...     path.parent.mkdir(parents=True)
        ...     _ = path.write_text('{"loss": 0.5, "step": 10}\n{"loss": 0.4, "step": 20}\n{"loss": 0')
        ...     remove_repeated_lines([Path(folder) / 'run'], lambda scalars: scalars['step'] <= 10), path.read_text()
        (2, '{"loss": 0.5, "step": 10}\n')
    """
    num_removed = 0
    for path in (path for folder in folders for path in sorted(folder.glob('vis_data/*.json'))):
        lines = path.read_text().splitlines()
        kept = [line for line in lines if _is_kept(line, is_kept)]
        if len(kept) < len(lines):
            num_removed += len(lines) - len(kept)
            write_text(path, ''.join(f'{line}\n' for line in kept))
    return num_removed


def _is_kept(line: str, is_kept: Callable[[dict[str, Any]], bool]) -> bool:
    try:
        scalars = json.loads(line)
    except json.JSONDecodeError:
        return False
    return not isinstance(scalars, dict) or is_kept(scalars)
