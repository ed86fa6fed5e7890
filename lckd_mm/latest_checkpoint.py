"""The checkpoint from which an interrupted training is resumed."""

import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from .checkpoint import load_data
from .errors import CheckpointError

__all__ = ['find_latest_checkpoint', 'read_pointer']

_POINTER = 'last_checkpoint'
# CheckpointHook publishes epoch_3.pth as epoch_3-<first 8 digits of its hash>.pth.
_PUBLISHED = re.compile(r'-[0-9a-f]{8}\.pth$')
# `filename_tmpl` of CheckpointHook; that of a config with another one is in `last_checkpoint`.
_USUAL = ('epoch_{}.pth', 'iter_{}.pth')


class _Candidate(NamedTuple):
    """A complete checkpoint of a training; the maximum is the one to resume from."""

    has_usual_name: bool
    has_optimizer: bool
    iteration: int
    epoch: int
    is_named: bool
    path: str
    time: str
    modified: float


def find_latest_checkpoint(work_dir: str | os.PathLike, is_logged: bool = True) -> str | None:
    """Return the complete checkpoint of the highest iteration, whatever the file ``last_checkpoint`` says.

    ``last_checkpoint`` decides only among checkpoints of the same iteration, and names the folder of the checkpoints if the work directory
    contains none: that of ``CheckpointHook(out_dir=...)``. The best checkpoints (``best_*``), published and exported ones cannot resume a
    training, and are ignored. A file of another name than the hook gives, a copy of the teacher for example, is used only if there is no
    other. A checkpoint that is older than one of a lower iteration is ignored: it is of an earlier training in the same folder. A warning
    names files that cannot be read.

    Args:
        work_dir (str | PathLike): The work directory.
        is_logged (bool): Whether files that cannot be read, and the lack of a checkpoint, are logged. Defaults to True.

    Returns:
        str, optional: Its path; None if there is no such checkpoint.

    Raises:
        CheckpointError: There are checkpoints of the training, but none can be read: the file is damaged, or its content is
            not allowed. A training that started anew would overwrite them.
    """
    pointer = read_pointer(Path(work_dir))
    if pointer is not None and '://' in pointer:
        # A remote storage is not listed.
        return pointer
    folders = [Path(work_dir)]
    if pointer:
        # A work directory that was moved contains the checkpoints, but not where `last_checkpoint` says.
        folders.append(Path(pointer).parent)
    refused: list[str] = []
    for folder in folders:
        candidates = [
            candidate for path in _paths(folder, pointer) if (candidate := _read(path, pointer, is_logged, refused))
        ]
        if candidates:
            return max(candidate for candidate in candidates if not _is_of_earlier_training(candidate, candidates)).path
    if pointer and os.path.isdir(pointer):
        # A checkpoint of DeepSpeed is a folder.
        return pointer
    if refused:
        raise CheckpointError(
            f'{os.fspath(work_dir)!r} contains no checkpoint that can be read ({refused[-1]}): restore one from a copy, or delete its '
            'checkpoints if the training should start at its beginning.'
        )
    if is_logged:
        _log(
            f'{os.fspath(work_dir)!r} contains no checkpoint to resume from: the training starts at its beginning.',
            logging.INFO,
        )
    return None


def read_pointer(work_dir: Path) -> str | None:
    """Return the path in the file ``last_checkpoint`` of a work directory; None without such a file, or if it is empty."""
    path = work_dir / _POINTER
    if not path.is_file():
        return None
    return path.read_text(errors='replace').strip('\0 \n') or None


def _paths(folder: Path, pointer: str | None) -> list[Path]:
    """Return the files of a folder that may be checkpoints of its training."""
    # `filename_tmpl` may have another suffix.
    suffixes = {'.pth', Path(pointer or '').suffix} - {''}
    paths = [path for suffix in suffixes for path in folder.glob(f'*{suffix}')] if folder.is_dir() else []
    return sorted(path for path in paths if path.is_file() and not path.name.startswith('best_'))


def _read(path: Path, pointer: str | None, is_logged: bool, refused: list[str]) -> _Candidate | None:
    """Return what a file tells about its training; None if it is none or cannot be read: then `refused` receives the reason."""
    name = Path(pointer or '').name
    has_usual_name = _without_digits(path.name) in (*_USUAL, _without_digits(name))
    try:
        data = load_data(path, map_location='cpu', mmap=True)
    except (OSError, RuntimeError) as error:
        if has_usual_name:
            # What follows the colon is for files from elsewhere.
            refused.append(str(error).partition(': ')[0])
        if is_logged:
            _log(f'The checkpoint {path} is skipped: {error}', logging.WARNING)
        return None
    is_training = isinstance(data, dict) and {'state_dict', 'message_hub', 'meta'} <= data.keys()
    meta: dict[str, Any] = data['meta'] if is_training else {}
    has_optimizer = is_training and 'optimizer' in data
    if not {'epoch', 'iter'} <= meta.keys() or (_PUBLISHED.search(path.name) and not has_optimizer):
        return None
    return _Candidate(
        has_usual_name,
        has_optimizer,
        int(meta['iter']),
        int(meta['epoch']),
        name == path.name,
        str(path),
        str(meta.get('time', '')),
        path.stat().st_mtime,
    )


def _is_of_earlier_training(candidate: _Candidate, candidates: list[_Candidate]) -> bool:
    """Return whether the training was started again in the same folder, and has not reached this iteration yet.

    Local time is set back once a year, and copying a file changes its date: both have to agree.
    """
    return any(
        other.has_usual_name
        and other.iteration < candidate.iteration
        and other.time > candidate.time
        and other.modified > candidate.modified
        for other in candidates
    )


def _without_digits(name: str) -> str:
    return re.sub(r'\d+', '{}', name)


def _log(message: str, level: int) -> None:
    # No patched library is imported before the patches are applied.
    from mmengine.logging import print_log

    print_log(message, logger='current', level=level)
