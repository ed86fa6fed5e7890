"""Gradients of zero for parameters that no loss uses."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def add_zero_gradients(losses: dict[str, Any], parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
    """Let the backward pass of losses give parameters the gradient 0.

    In contrast to ``0 * parameter.sum()``, values that are not finite have no effect.

    Args:
        losses (dict[str, Tensor | list[Tensor]]): Losses by name.
        parameters (Iterable[nn.Parameter]): The parameters; those without ``requires_grad`` are ignored.

    Returns:
        dict[str, Tensor | list[Tensor]]: The losses with the same values.

    Example:
        >>> weight = nn.Parameter(torch.tensor([torch.inf, 1.0]))
        >>> losses = add_zero_gradients(dict(loss=torch.tensor(2.0, requires_grad=True)), [weight])
        >>> losses['loss'].backward()
        >>> losses['loss'].item(), weight.grad
        (2.0, tensor([0., 0.]))
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    # mmengine adds up the values whose names contain 'loss'.
    name = next((name for name in losses if 'loss' in name), None)
    if not trained or name is None:
        return losses
    value = losses[name]
    if isinstance(value, Tensor):
        changed: Any = value + _ZeroGradient.apply(*trained).to(value)
    else:
        changed = [value[0] + _ZeroGradient.apply(*trained).to(value[0]), *value[1:]]
    return {**losses, name: changed}


class _ZeroGradient(torch.autograd.Function):
    """The constant 0 as a function of tensors."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(*tensors)
        return tensors[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return tuple(torch.zeros_like(tensor) for tensor in ctx.saved_tensors)
