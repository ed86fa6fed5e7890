from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from lckd_mm.engine.distillation import distiller_of
from lckd_mm.errors import ConfigValueError, unknown_name


class LossWeightHook(Hook):
    """Base class of the hooks that set the ``loss_weight`` of one distillation loss.

    The base class finds the loss and ensures that no other hook sets the same weight.

    Args:
        loss (str): Name of the loss in ``distill_losses``.
    """

    # Before the logger (BELOW_NORMAL) prints the weight and the checkpoint hook (VERY_LOW) saves the state.
    priority = 'NORMAL'

    def __init__(self, loss: str) -> None:
        self.loss = loss

    def before_train(self, runner: Runner) -> None:
        """Verify before the first step that the loss exists, has a weight, and has no second hook.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ConfigValueError: The loss is unknown, has no ``loss_weight``, or another hook sets its weight.
        """
        losses = distiller_of(runner, self).distill_losses
        if self.loss not in losses:
            raise ConfigValueError(unknown_name(f'{type(self).__name__}: loss', self.loss, losses))
        if not hasattr(losses[self.loss], 'loss_weight'):
            raise ConfigValueError(
                f'{type(self).__name__}: {self.loss!r} is a {type(losses[self.loss]).__name__}, '
                'which has no `loss_weight`: choose another loss or remove the hook.'
            )
        hooks = [hook for hook in runner.hooks if isinstance(hook, LossWeightHook) and hook.loss == self.loss]
        if len(hooks) > 1:
            names = ' and '.join(type(hook).__name__ for hook in hooks)
            raise ConfigValueError(f'{names} both set the weight of {self.loss!r}: keep only one of these hooks.')

    def loss_module(self, runner: Runner) -> Any:
        """Return the module of the loss.

        Args:
            runner (Runner): The runner of the training.

        Returns:
            Any: The loss, a module with an attribute ``loss_weight``.
        """
        return distiller_of(runner, self).distill_losses[self.loss]
