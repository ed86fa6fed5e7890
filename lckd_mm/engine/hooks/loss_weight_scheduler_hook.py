import math

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from lckd_mm.spectral.naming import unknown_name

from .distiller import distiller_of

_POLICIES = {
    'step': lambda progress: float(progress >= 0),
    'linear': lambda progress: min(max(progress, 0.0), 1.0),
    'cosine': lambda progress: (1 - math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2,
}


@HOOKS.register_module()
class LossWeightSchedulerHook(Hook):
    """Change the weight of a distillation loss over the training.

    The weight is a function of the progress alone, so a resumed training goes on with the right one.

    Args:
        loss (str): Name in ``distill_losses``: ``'loss_lipschitz'``.
        start_weight (float): ``loss_weight`` until ``begin``.
        end_weight (float): ``loss_weight`` from ``end`` on, of ``policy='step'`` from ``begin`` on.
        policy (str): ``'step'`` (published), ``'linear'`` or ``'cosine'``. Defaults to ``'step'``.
        begin (float): Fraction of the training at which the change begins. Defaults to 0.6, the authors' CIFAR settings
            (a) and (d).
        end (float): Fraction at which it is complete; not used by ``'step'``. Defaults to 1.0.
        by_epoch (bool): Whether to change it at the start of an epoch only, as published, or at each iteration.
            Defaults to True.

    Raises:
        ValueError: Unknown ``policy`` or ``loss``, fractions outside 0 <= begin <= end <= 1, a negative weight.
    """

    priority = 'NORMAL'

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
        if policy not in _POLICIES:
            raise ValueError(unknown_name('policy', policy, _POLICIES))
        if not 0 <= begin <= end <= 1:
            raise ValueError(f'begin={begin!r} and end={end!r} are fractions of the training: 0 <= begin <= end <= 1.')
        if start_weight < 0 or end_weight < 0:
            raise ValueError(f'start_weight={start_weight!r} and end_weight={end_weight!r} must not be negative.')
        self.loss, self.policy, self.by_epoch = loss, policy, by_epoch
        self.start_weight, self.end_weight = start_weight, end_weight
        self.begin, self.end = begin, end

    def weight_at(self, progress: float) -> float:
        """The weight at a fraction of the training in [0, 1]."""
        if self.policy != 'step' and self.end == self.begin:
            share = float(progress >= self.begin)
        else:
            share = _POLICIES[self.policy]((progress - self.begin) / ((self.end - self.begin) or 1.0))
        return self.start_weight + (self.end_weight - self.start_weight) * share

    def before_train(self, runner: Runner) -> None:
        """Look the loss up before the first step."""
        losses = distiller_of(runner, self).distill_losses
        if self.loss not in losses:
            raise ValueError(unknown_name('LossWeightSchedulerHook: loss', self.loss, losses))
        if not hasattr(losses[self.loss], 'loss_weight'):
            raise ValueError(
                f'LossWeightSchedulerHook: {type(losses[self.loss]).__name__} has no `loss_weight` to change.'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the weight of the epoch."""
        if self.by_epoch:
            self._set(runner, runner.epoch / runner.max_epochs)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Set the weight of the iteration."""
        if not self.by_epoch:
            self._set(runner, runner.iter / runner.max_iters)

    def _set(self, runner: Runner, progress: float) -> None:
        weight = self.weight_at(progress)
        distiller_of(runner, self).distill_losses[self.loss].loss_weight = weight
        runner.message_hub.update_scalar(f'train/weight_{self.loss}', weight)
