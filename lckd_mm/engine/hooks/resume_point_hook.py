from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmrazor.registry import HOOKS

from ..scalar_lines import remove_repeated_lines

_KEY = 'resume_point'
# A file in the log folder of a process that has saved no checkpoint yet.
_UNSAVED = 'no_checkpoint'


@HOOKS.register_module()
class ResumePointHook(Hook):
    """Continue a training exactly where its checkpoint was saved.

    mmengine saves a checkpoint before the evaluation that follows it. A training that is resumed from there would omit that evaluation,
    whose metrics are then missing in the log, in the search for the best checkpoint and in an early stop. It would also repeat the whole
    epoch if the checkpoint was saved within an epoch. And it would log again what the interrupted training has logged after the
    checkpoint. With this hook a resumed training

    - repeats the evaluation that follows its checkpoint,
    - continues within the epoch, with the next batch,
    - removes the lines that it writes again from ``vis_data/*.json`` of the interrupted processes. Logs of earlier trainings in the same
      work directory stay.

    Example:
        >>> default_hooks = dict(resume_point=dict(type='mmrazor.ResumePointHook'))
    """

    # The evaluation begins after the other hooks have prepared the training.
    priority = 'LOWEST'

    def __init__(self) -> None:
        # Whether the evaluation that follows the last iteration is finished.
        self._is_evaluated = False
        # The number of trained batches in the current epoch.
        self._num_trained_batches = 0
        self._loaded_point: dict[str, Any] | None = None
        self._loaded_info: dict[str, Any] = {}

    def before_train_epoch(self, runner: Runner) -> None:
        """Note that the checkpoints that follow belong to this epoch."""
        self._num_trained_batches = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Note that the checkpoints that follow contain this iteration.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch.
            data_batch (object): The batch; not used.
        """
        self._is_evaluated = False
        self._num_trained_batches = batch_idx + 1

    def before_val_epoch(self, runner: Runner) -> None:
        """Note that the checkpoints that follow contain the evaluation, as that of the best metric does."""
        self._is_evaluated = True
        self._num_trained_batches = 0

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the position in the training to the checkpoint.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict[str, Any]): The checkpoint that is about to be saved.
        """
        is_within_epoch = (
            isinstance(runner.train_loop, EpochBasedTrainLoop)
            and checkpoint.get('meta', {}).get('epoch') == runner.epoch
        )
        checkpoint[_KEY] = dict(
            is_evaluated=self._is_evaluated,
            num_trained_batches=self._num_trained_batches if is_within_epoch else 0,
            timestamp=runner.timestamp,
        )
        # Only the first rank saves checkpoints.
        (Path(runner.log_dir) / _UNSAVED).unlink(missing_ok=True)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the position of a resumed training for :meth:`before_train`.

        Args:
            runner (Runner): The runner of the training. If it only loads weights, the position is ignored.
            checkpoint (dict[str, Any]): The loaded checkpoint.
        """
        if runner._resume:
            self._loaded_point = checkpoint.get(_KEY, dict(is_evaluated=False, num_trained_batches=0, timestamp=None))
            self._loaded_info = checkpoint.get('message_hub', {}).get('runtime_info', {})

    def before_train(self, runner: Runner) -> None:
        """Continue a resumed training.

        Args:
            runner (Runner): The runner of the training.
        """
        point, self._loaded_point = self._loaded_point, None
        if point is None:
            _begin(runner)
            return
        _restore_info(runner, self._loaded_info)
        loop, num_trained_batches = runner.train_loop, point['num_trained_batches']
        if num_trained_batches:
            loop.num_trained_batches = num_trained_batches
        is_due = not point['is_evaluated'] and not num_trained_batches and _is_evaluation_due(runner)
        if point['timestamp'] is not None:
            _remove_lines(runner, point['timestamp'], is_due)
        if is_due:
            runner.logger.info('The evaluation that follows the checkpoint is repeated.')
            runner.val_loop.run()


def _restore_info(runner: Runner, info: dict[str, Any]) -> None:
    """Restore what mmengine does not: the last iteration in the message hub, and the last checkpoint, which a best metric updates."""
    for name in ('epoch', 'iter'):
        if name in info:
            runner.message_hub.update_info(name, info[name])
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.last_ckpt is None:
            hook.last_ckpt = info.get('last_ckpt')


def _is_evaluation_due(runner: Runner) -> bool:
    """Return whether mmengine's loop evaluates after the iteration or epoch that was trained last."""
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        position, end = loop.epoch, loop.max_epochs
    elif isinstance(loop, IterBasedTrainLoop):
        position, end = loop.iter, loop.max_iters
    else:
        return False
    if runner.val_loop is None or position < max(loop.val_begin, 1):
        return False
    # The interval can depend on the position.
    loop._decide_current_val_interval()
    return bool(position % loop.val_interval == 0 or position == end)


@master_only
def _begin(runner: Runner) -> None:
    """Mark the log folder; if no checkpoint was found, remove the lines of processes that were interrupted before their first one."""
    for path in Path(runner.work_dir).glob(f'*/{_UNSAVED}') if runner._resume else ():
        remove_repeated_lines([path.parent], lambda scalars: False)
        path.unlink()
    path = Path(runner.log_dir) / _UNSAVED
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@master_only
def _remove_lines(runner: Runner, timestamp: str, is_evaluation_repeated: bool) -> None:
    """Remove the scalars that the training logs again; losses by iteration, metrics by epoch or by iteration.

    The process that saved the checkpoint has logged them, and later ones that saved none. The names of their folders are timestamps.
    """
    folders = [path for path in Path(runner.work_dir).iterdir() if path.name >= timestamp and path.is_dir()]
    by_epoch = all(hook.log_metric_by_epoch for hook in runner.hooks if isinstance(hook, LoggerHook))
    last_metrics = runner.epoch if by_epoch else runner.iter

    def is_kept(scalars: dict[str, Any]) -> bool:
        step = scalars.get('step')
        if not isinstance(step, int):
            return True
        if 'iter' in scalars:
            return step <= runner.iter
        # A training that counts iterations has only one epoch, number 0.
        return step < last_metrics or (step == last_metrics and not (is_evaluation_repeated and last_metrics))

    num_removed = remove_repeated_lines(sorted(folders), is_kept)
    if num_removed:
        runner.logger.info(f'{num_removed} lines of scalars that the interrupted training has logged are removed.')
