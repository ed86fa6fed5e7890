"""Patch of mmengine's hook for early stopping."""

from typing import Any

from .patching import patch

_KEY = 'early_stopping'


@patch(
    'mmengine.hooks:EarlyStoppingHook',
    ('priority', 'before_save_checkpoint', 'after_load_checkpoint'),
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a resumed training stops later than an uninterrupted one: EarlyStoppingHook forgets the best score, and the number of '
    'evaluations since then',
    until='EarlyStoppingHook saves its state in the checkpoints',
)
def mmengine_early_stopping(original: Any) -> Any:
    """Save the state in the checkpoints, also in the one that CheckpointHook saves after an evaluation with the best score."""
    if not callable(original):
        # Before CheckpointHook.
        return 'LOW'
    return {'before_save_checkpoint': _save, 'after_load_checkpoint': _load}[original.__name__]


def _save(self: Any, runner: Any, checkpoint: dict[str, Any]) -> None:
    state = dict(wait_count=self.wait_count, best_score=self.best_score, stopped=runner.train_loop.stop_training)
    checkpoint.setdefault(_KEY, {})[self.monitor] = state


def _load(self: Any, runner: Any, checkpoint: dict[str, Any]) -> None:
    state = checkpoint.get(_KEY, {}).get(self.monitor)
    if runner._resume and state is not None:
        self.wait_count, self.best_score = state['wait_count'], state['best_score']
        runner.train_loop.stop_training = state['stopped']
