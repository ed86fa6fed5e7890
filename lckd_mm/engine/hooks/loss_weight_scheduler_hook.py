import math
from collections.abc import Callable

from mmengine.runner import IterBasedTrainLoop, Runner
from mmrazor.registry import HOOKS

from lckd_mm.errors import ConfigValueError, unknown_name

from .loss_weight_hook import LossWeightHook

# Maps the progress between `begin` (0) and `end` (1) to the fraction of the change that is complete.
_POLICIES: dict[str, Callable[[float], float]] = {
    'step': lambda progress: float(progress >= 0),
    'linear': lambda progress: min(max(progress, 0.0), 1.0),
    'cosine': lambda progress: (1 - math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2,
}


@HOOKS.register_module()
class LossWeightSchedulerHook(LossWeightHook):
    """Change the weight of a distillation loss over the training.

    The weight depends only on the progress. A resumed training therefore continues with the correct weight.

    Args:
        loss (str): Name of the loss in ``distill_losses``, ``'loss_lipschitz'`` for example.
        start_weight (float): ``loss_weight`` until ``begin``.
        end_weight (float): ``loss_weight`` from ``end`` on; with ``policy='step'`` from ``begin`` on.
        policy (str): ``'step'`` (published), ``'linear'`` or ``'cosine'``. Defaults to ``'step'``.
        begin (float): Fraction of the training at which the change begins. Defaults to 0.6, the value of the
            published CIFAR settings (a) and (d).
        end (float): Fraction of the training at which the change is complete. ``'step'`` ignores it. Defaults to 1.0.
        by_epoch (bool): Whether the weight changes only at the start of an epoch, as published. If False, it changes
            at every iteration, as it always does in a loop without epochs such as ``IterBasedTrainLoop``. Defaults to
            True.

    Raises:
        ConfigValueError: ``policy`` is unknown, ``begin`` and ``end`` violate 0 <= begin <= end <= 1, or a weight is
            negative. Before training: see :meth:`LossWeightHook.before_train`.

    Example:
        >>> hook = LossWeightSchedulerHook('loss_lipschitz', 1.0, 0.5, policy='linear', begin=0.0)
        >>> hook.weight_at(0.5)
        0.75
    """

    def __init__(
        self,
        loss: str,
        start_weight: float,
        end_weight: float,
        policy: str = 'step',
        begin: float = 0.6,
        end: float = 1.0,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(loss)
        if policy not in _POLICIES:
            raise ConfigValueError(unknown_name('LossWeightSchedulerHook: policy', policy, _POLICIES))
        if not 0 <= begin <= end <= 1:
            raise ConfigValueError(
                f'LossWeightSchedulerHook: begin={begin!r} and end={end!r} are not fractions of the training: '
                'use 0 <= begin <= end <= 1.'
            )
        if start_weight < 0 or end_weight < 0:
            raise ConfigValueError(
                f'LossWeightSchedulerHook: start_weight={start_weight!r} or end_weight={end_weight!r} is negative: '
                'use 0 or more.'
            )
        self.policy, self.by_epoch = policy, by_epoch
        self.start_weight, self.end_weight = start_weight, end_weight
        self.begin, self.end = begin, end

    def weight_at(self, progress: float) -> float:
        """Return the weight at a point of the training.

        Args:
            progress (float): Fraction of the training that is complete, in [0, 1].

        Returns:
            float: The weight of the loss.
        """
        if self.policy != 'step' and self.end == self.begin:
            share = float(progress >= self.begin)
        else:
            share = _POLICIES[self.policy]((progress - self.begin) / ((self.end - self.begin) or 1.0))
        return self.start_weight + (self.end_weight - self.start_weight) * share

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the weight for the epoch.

        Args:
            runner (Runner): The runner of the training.
        """
        if self._counts_epochs(runner):
            self._set_weight(runner, runner.epoch / runner.max_epochs)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Set the weight for the iteration.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch; not used.
            data_batch (object): The batch; not used.
        """
        if not self._counts_epochs(runner):
            self._set_weight(runner, runner.iter / runner.max_iters)

    def _counts_epochs(self, runner: Runner) -> bool:
        # A loop by iterations is one epoch to a hook, so that the progress in epochs would stay 0.
        return self.by_epoch and not isinstance(runner.train_loop, IterBasedTrainLoop)

    def _set_weight(self, runner: Runner, progress: float) -> None:
        weight = self.weight_at(progress)
        self.loss_module(runner).loss_weight = weight
        runner.message_hub.update_scalar(f'train/weight_{self.loss}', weight)
