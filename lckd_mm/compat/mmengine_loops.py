"""Patches of mmengine's training and evaluation loops."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .patching import patch


def _reads_last_output() -> bool:
    from mmengine.runner import loops

    return hasattr(loops, '_update_losses')


@patch(
    'mmengine.runner.loops',
    '_update_losses',
    library='mmengine',
    versions='>=0.10.5,<1',
    issue='none known',
    reason="the evaluation of a model whose predictions are a dict or empty fails, 'KeyError: -1': mmengine looks for losses in the last "
    'prediction',
    until='mmengine looks for losses only in lists of predictions',
    is_needed=_reads_last_output,
)
def mmengine_prediction_losses(original: Callable[..., Any]) -> Callable[..., Any]:
    """Look for losses only in a sequence that is not empty."""

    def _update_losses(outputs: Any, losses: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if isinstance(outputs, Sequence) and len(outputs) > 0:
            return original(outputs, losses)  # type: ignore[no-any-return]
        return outputs, losses

    return _update_losses


@patch(
    'mmengine.runner:EpochBasedTrainLoop',
    'run_epoch',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a resumed training is not bit-identical: no hook is called between two iterations, before the next batch is loaded; and a '
    'checkpoint of `CheckpointHook(by_epoch=False)` is resumed at the beginning of its epoch, whose first batches are trained twice',
    until='mmengine resumes inside an epoch, and has a hook that is called before a batch is loaded',
)
def mmengine_epochs(_: Callable[..., None]) -> Callable[..., None]:
    """Call ``before_load_batch`` of the hooks, and omit the first ``num_trained_batches`` batches of a resumed epoch."""

    def run_epoch(self: Any) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        num_trained_batches = self.__dict__.pop('num_trained_batches', 0)
        batches = _Batches(self.dataloader, self.runner, self._iter - num_trained_batches)
        for index, data_batch in enumerate(batches):
            if index >= num_trained_batches:
                self.run_iter(index, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    return run_epoch


@patch(
    'mmengine.runner:IterBasedTrainLoop',
    'run',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a resumed training is not bit-identical: no hook is called between two iterations, before the next batch is loaded; in the '
    'stack onedl, the workers of a resumed training do not load the omitted batches, which leave them with other random numbers',
    until='mmengine has a hook that is called before a batch is loaded',
)
def mmengine_iterations(original: Callable[..., Any]) -> Callable[..., Any]:
    """Call ``before_load_batch`` of the hooks, also for the omitted batches of a resumed training."""

    def run(self: Any) -> Any:
        if any(hasattr(hook, 'before_load_batch') for hook in self.runner.hooks):
            self.dataloader_iterator = _Batches(self.dataloader_iterator, self.runner, 0)
        return original(self)

    return run


@patch(
    'mmengine.runner.loops:_InfiniteDataloaderIterator',
    '__init__',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='in a training that counts iterations, the workers of the data loader start before `before_train` of the hooks, so that what '
    'hooks change in the data set or in the data loader has no effect: errors of samples do not name their files',
    until='IterBasedTrainLoop starts its workers after before_train',
)
def mmengine_worker_start(_: Callable[..., None]) -> Callable[..., None]:
    """Start the workers when the first batch is read."""

    def initialize(self: Any, dataloader: Any) -> None:
        self._dataloader = dataloader
        self._epoch = 0
        # A generator calls `iter` when its first element is read.
        self._iterator = (batch for loader in [dataloader] for batch in loader)

    return initialize


class _Batches:
    """The batches of a training; ``before_load_batch`` of the hooks is called before each.

    Args:
        batches (Iterable): The batches.
        runner (Runner): The runner.
        iteration (int): Index of the iteration of the first batch.
    """

    def __init__(self, batches: Any, runner: Any, iteration: int) -> None:
        self.batches, self.runner, self.iteration = iter(batches), runner, iteration

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.runner.call_hook('before_load_batch', iteration=self.iteration)
        batch = next(self.batches)
        self.iteration += 1
        return batch

    def skip_iter(self, num_iters: int) -> None:
        """Load the omitted batches, so that the random numbers of the workers are those of an uninterrupted training."""
        for _ in range(num_iters):
            next(self)
