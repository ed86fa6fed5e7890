from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor

from ..distillation import unwrapped_model

_KEY = 'accumulated_gradients'


@HOOKS.register_module()
class AccumulatedGradientHook(Hook):
    """Save the gradients of a checkpoint between two steps of the optimizer, and continue with them.

    With ``accumulative_counts`` an epoch can end before the gradients of enough iterations are accumulated. mmengine loses the gradients
    of these iterations when the training is resumed.

    In distributed training they are lost as well: each process has gradients of its own, and only one writes the checkpoint.

    Example:
        >>> default_hooks = dict(accumulated_gradients=dict(type='mmrazor.AccumulatedGradientHook'))
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self._loaded_gradients: dict[str, Tensor] = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the gradients to a checkpoint that contains the optimizer.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict[str, Any]): The checkpoint that is about to be saved.
        """
        if 'optimizer' not in checkpoint or not _accumulates(runner.optim_wrapper) or get_world_size() > 1:
            return
        parameters = unwrapped_model(runner).named_parameters()
        # The optimizer removes the gradients after its step.
        gradients = {name: parameter.grad.cpu() for name, parameter in parameters if parameter.grad is not None}
        if gradients:
            checkpoint[_KEY] = gradients

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the gradients of a resumed training for :meth:`before_train`.

        Args:
            runner (Runner): The runner of the training. If it only loads weights, the gradients are ignored.
            checkpoint (dict[str, Any]): The loaded checkpoint.
        """
        if runner._resume:
            self._loaded_gradients = checkpoint.get(_KEY, {})

    def before_train(self, runner: Runner) -> None:
        """Continue with the gradients of the checkpoint.

        Args:
            runner (Runner): The runner of the training.
        """
        gradients, self._loaded_gradients = self._loaded_gradients, {}
        if not gradients or not _accumulates(runner.optim_wrapper) or get_world_size() > 1:
            return
        for name, parameter in unwrapped_model(runner).named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter)
        runner.logger.info(
            'The accumulated gradients of the checkpoint are restored: no gradient is lost, whatever an earlier warning says.'
        )


def _accumulates(optim_wrapper: Any) -> bool:
    wrappers = optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    # Wrappers of other frameworks accumulate on their own.
    return any(getattr(wrapper, '_accumulative_counts', 1) > 1 for wrapper in wrappers)
