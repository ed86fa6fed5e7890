import json
import time
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from lckd_mm.atomic_files import write_text

RUN_TIME_FILE = 'run_time.json'
"""The file in the work directory."""


@HOOKS.register_module()
class RunTimeHook(Hook):
    """Measure what the time of a training is spent on, and write it to ``run_time.json`` in the work directory at the end.

    Each moment after the start of the first epoch belongs to one part:

    - ``data_loading``: waiting for the next batch.
    - ``iterations``: the training step, and the hooks that run before and after it.
    - ``evaluation``: evaluations, and what hooks do between two epochs, such as checkpoints.

    A hook of the same priority that is registered later counts for the next part. With ``by_epoch=False``, a checkpoint is saved by a hook
    of the iteration, and counts for ``iterations``.

    The file contains the seconds of each part as ``seconds``, the time at which the first epoch started in seconds since 1970 as
    ``started``, and the number of training images of all processes as ``num_images``.

    Example:
        >>> default_hooks = dict(run_time=dict(type='mmrazor.RunTimeHook'))
    """

    # After all other hooks of an iteration, so that their time counts.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._started: float | None = None
        self._last = 0.0
        self._seconds = dict(data_loading=0.0, iterations=0.0, evaluation=0.0)
        self._num_images = 0

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the measurement; before a later epoch, end the pause between two epochs."""
        if self._started is None:
            self._started, self._last = time.time(), time.perf_counter()
        self._end('evaluation')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """End the loading of a batch, and count its images.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch; not used.
            data_batch (Any): The batch.
        """
        self._end('data_loading')
        self._num_images += len(data_batch['data_samples' if 'data_samples' in data_batch else 'inputs'])

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """End an iteration.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch; not used.
            data_batch (Any): The batch; not used.
            outputs (dict, optional): The losses; not used.
        """
        self._end('iterations')

    def after_val(self, runner: Runner) -> None:
        """End an evaluation."""
        self._end('evaluation')

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write the file."""
        self._end('evaluation')
        record = dict(started=self._started, seconds=self._seconds, num_images=self._num_images * get_world_size())
        write_text(Path(runner.work_dir) / RUN_TIME_FILE, json.dumps(record))

    def _end(self, part: str) -> None:
        """Count the time since the last call for a part; nothing is measured before the first epoch, and in an evaluation alone."""
        if self._started is None:
            return
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now
