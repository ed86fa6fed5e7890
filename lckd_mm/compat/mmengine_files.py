"""Patches of mmengine's local files: nothing is lost when a training is killed or the disk is full."""

import functools
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..atomic_files import SUFFIX, open_atomically, write_text
from ..latest_checkpoint import find_latest_checkpoint
from .patching import patch


@patch(
    # All writers of `mmengine.fileio`, checkpoints included, use the local backend; the hook writes `last_checkpoint` itself.
    ('mmengine.fileio.backends.local_backend', 'mmengine.hooks.checkpoint_hook'),
    'open',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a training that is killed while it saves, or finds the disk full, leaves an incomplete checkpoint under the final name, or an '
    "empty `last_checkpoint`, and --resume ends with 'FileNotFoundError:  can not be found.'",
    until='mmengine writes to a temporary file and renames it',
)
def mmengine_atomic_files(_: Any) -> Any:
    """Let files appear under their names when they are complete: these modules look up `open` in their own namespace first."""
    return functools.partial(open_atomically)


@patch(
    'mmengine.config:Config',
    'dump',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a process that is killed while it writes a config leaves an incomplete file',
    until='mmengine writes to a temporary file and renames it',
)
def mmengine_atomic_configs(original: Callable[..., Any]) -> Callable[..., Any]:
    """Write Python files as a whole; other formats are written by `mmengine.fileio`."""

    def dump(self: Any, file: Any = None) -> Any:
        if not isinstance(file, (str, Path)) or not str(file).endswith('.py'):
            return original(self, file)
        write_text(file, self.pretty_text)
        return None

    return dump


@patch(
    ('mmengine.runner.checkpoint', 'mmengine.runner', 'mmengine.runner.runner', 'mmengine.runner._flexible_runner'),
    'find_latest_checkpoint',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='--resume depends on the file `last_checkpoint`, which may be empty, name a deleted or incomplete file, or be older than the '
    'newest checkpoint',
    until='mmengine looks for the newest complete checkpoint',
)
def mmengine_latest_checkpoint(_: Callable[..., Any]) -> Callable[..., Any]:
    """Find the complete checkpoint of the highest iteration."""

    def find(path: str) -> str | None:
        return find_latest_checkpoint(path)

    return find


@patch(
    'mmengine.hooks:CheckpointHook',
    '_save_checkpoint_with_step',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='with `max_keep_ckpts` the previous checkpoint is deleted before the next is written: a training that is killed in between '
    'is lost',
    until='mmengine deletes old checkpoints after the new one is complete',
)
def mmengine_checkpoint_order(original: Callable[..., None]) -> Callable[..., None]:
    """Delete old checkpoints at the end.

    The saved message hub lists them: if the process is killed before it deletes them, mmengine does so after the resumption.
    """

    def _save_checkpoint_with_step(self: Any, runner: Any, step: int, meta: dict) -> None:
        limit = self.max_keep_ckpts
        if limit <= 0:
            original(self, runner, step, meta)
            return
        # mmengine deletes nothing below the limit.
        self.max_keep_ckpts = sys.maxsize
        self.keep_ckpt_ids = kept = deque(self.keep_ckpt_ids)
        try:
            original(self, runner, step, meta)
        finally:
            self.max_keep_ckpts = limit
        while len(kept) > limit:
            _delete(self, self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(kept.popleft())))
        runner.message_hub.update_info('keep_ckpt_ids', list(kept))

    return _save_checkpoint_with_step


@patch(
    'mmengine.hooks:CheckpointHook',
    '_save_best_checkpoint',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='the previous best checkpoint is deleted before the new one is written',
    until='mmengine deletes old checkpoints after the new one is complete',
)
def mmengine_best_checkpoint_order(original: Callable[..., None]) -> Callable[..., None]:
    """Delete the previous best checkpoints at the end."""

    def _save_best_checkpoint(self: Any, runner: Any, metrics: dict) -> None:
        previous = _best_paths(self)
        # mmengine deletes nothing if there is no previous best checkpoint.
        _set_best_paths(self, dict.fromkeys(previous))
        try:
            original(self, runner, metrics)
        finally:
            new = {key: path for key, path in _best_paths(self).items() if path is not None}
            _set_best_paths(self, {**previous, **new})
        for key, path in new.items():
            if previous[key] not in (None, path) and _delete(self, previous[key]):
                runner.logger.info(f'The previous best checkpoint {previous[key]} is removed')

    return _save_best_checkpoint


def _best_paths(hook: Any) -> dict[str, str | None]:
    """Return the paths of the best checkpoints by the names of their metrics; empty if none are saved."""
    if hasattr(hook, 'best_ckpt_path_dict'):
        return dict(hook.best_ckpt_path_dict)
    return {'': hook.best_ckpt_path} if hasattr(hook, 'best_ckpt_path') else {}


def _set_best_paths(hook: Any, paths: dict[str, str | None]) -> None:
    if hasattr(hook, 'best_ckpt_path_dict'):
        hook.best_ckpt_path_dict = paths
    elif hasattr(hook, 'best_ckpt_path'):
        hook.best_ckpt_path = paths['']


def _delete(hook: Any, path: str | None) -> bool:
    """Delete a checkpoint in the main process; one of DeepSpeed is a folder."""
    from mmengine.dist import is_main_process

    if not path or not is_main_process():
        return False
    # A process that was killed while it wrote the checkpoint has left the second.
    if hook.file_backend.isfile(path + SUFFIX):
        hook.file_backend.remove(path + SUFFIX)
    if hook.file_backend.isfile(path):
        hook.file_backend.remove(path)
    elif hook.file_backend.isdir(path):
        hook.file_backend.rmtree(path)
    else:
        return False
    return True
