"""Patch of torch."""

import inspect
from collections.abc import Callable
from typing import Any

from .patching import patch


def _is_reentrant_by_default() -> bool:
    from torch.utils.checkpoint import checkpoint

    return inspect.signature(checkpoint).parameters['use_reentrant'].default is None


@patch(
    # mmengine imports the function by name, and may have been imported before lckd_mm.
    ('torch.utils.checkpoint', 'mmengine.runner.activation_checkpointing'),
    'checkpoint',
    library='torch',
    versions='>=2.0',
    issue='none known',
    reason='activation checkpointing (`with_cp=True`, `activation_checkpointing` of the Runner) runs reentrantly, without a graph: the '
    'losses of recorded feature maps have no gradient, and torch.autograd.grad fails',
    until='`use_reentrant=False` is the default of torch, as it announces',
    is_needed=_is_reentrant_by_default,
)
def torch_checkpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    """Call the function with ``use_reentrant=False`` where the caller does not select."""

    def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if kwargs.get('use_reentrant') is None:
            kwargs['use_reentrant'] = False
        return original(function, *args, **kwargs)

    return checkpoint
