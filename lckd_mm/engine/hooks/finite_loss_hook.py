from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor, nn

from lckd_mm.engine.distillation import unwrapped_model
from lckd_mm.errors import ConfigRuntimeError, check_number

# GradScaler begins with the scale 2^16 and halves it in each step that it skips. Before this number of steps it is below 2^-24, the
# smallest number of float16, so that the loss itself is the cause.
_MAX_SKIPPED_STEPS = 50


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """End a training whose weights or losses have become infinite or NaN, and keep its last finite checkpoint.

    The losses are counted on their device, without synchronization. The counter is read every ``interval`` iterations, before a checkpoint
    is written, and at the end. A training ends if a trainable parameter is not finite, from which it cannot recover, or if the loss was not
    finite in 50 consecutive iterations. Single infinite losses are accepted: the scaler of mixed precision skips their steps.

    Args:
        interval (int): Iterations between two readings of the counter. Defaults to 50, that of OpenMMLab's loggers.

    Raises:
        ConfigTypeError: ``interval`` is no number.
        ConfigValueError: ``interval`` is not positive.
        ConfigRuntimeError: In training: names the losses, the iteration and, in a distillation, the tap of the student.

    Example:
        >>> default_hooks = dict(finite_loss=dict(type='mmrazor.FiniteLossHook', interval=100))
    """

    # Before the hooks that write a log or a checkpoint.
    priority = 'ABOVE_NORMAL'

    def __init__(self, interval: int = 50) -> None:
        check_number('FiniteLossHook', 'interval', interval, minimum=1)
        self.interval = interval
        # The number of iterations since the last finite loss, and which losses were not finite in the first of them.
        self._count: Tensor | None = None
        self._first: Tensor | None = None
        self._names: list[str] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Count the iteration if its loss is not finite.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Not used.
            data_batch (Any): Not used.
            outputs (dict, optional): The losses, scalars on one device.

        Raises:
            ConfigRuntimeError: See the class.
        """
        losses = {
            name: value
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, Tensor) and value.numel() == 1
        }
        if losses:
            invalid = ~torch.stack([value.detach().reshape(()).float() for value in losses.values()]).isfinite()
            if self._count is None or self._first is None or self._names != list(losses):
                self._count, self._first, self._names = invalid.new_zeros((), dtype=torch.int64), invalid, list(losses)
            self._count = (self._count + 1) * invalid.any()
            self._first = torch.where(self._count == 1, invalid, self._first)
        if self.every_n_train_iters(runner, self.interval):
            self._check(runner, runner.iter + 1)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Reject weights that are not finite.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict): Not used.

        Raises:
            ConfigRuntimeError: See the class.
        """
        self._check(runner, runner.iter, always=True)

    def after_train(self, runner: Runner) -> None:
        """Reject weights that are not finite, whether or not a checkpoint was written.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ConfigRuntimeError: See the class.
        """
        self._check(runner, runner.iter, always=True)

    def _check(self, runner: Runner, num_iters: int, always: bool = False) -> None:
        count = 0 if self._count is None else int(self._count)
        if not count and not always:
            return
        model = unwrapped_model(runner)
        parameters = _nonfinite_parameters(model)
        if not parameters and count < _MAX_SKIPPED_STEPS:
            return
        reasons = []
        if count and self._first is not None:
            names = [name for name, is_invalid in zip(self._names, self._first.tolist()) if is_invalid]
            reasons.append(f'{" and ".join(names[:3])} not finite since iteration {max(num_iters - count + 1, 1)}')
        tap = getattr(getattr(model, 'distiller', None), 'nonfinite_tap', '')
        if tap:
            reasons.append(tap)
        if parameters:
            reasons.append(f'{len(parameters)} parameters not finite, the first is {parameters[0]!r}')
        raise ConfigRuntimeError(
            f'the training has diverged at iteration {num_iters} or before ({"; ".join(reasons)}), and no further checkpoint is written: '
            'lower the learning rate or the weight of the loss, set optim_wrapper.clip_grad, or train without --amp.'
        )


def _nonfinite_parameters(model: nn.Module) -> list[str]:
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad and p.is_floating_point()}
    if not parameters:
        return []
    # One transfer from the device for all parameters.
    is_finite = torch.stack([p.detach().isfinite().all() for p in parameters.values()]).tolist()
    return [name for name, finite in zip(parameters, is_finite) if not finite]
