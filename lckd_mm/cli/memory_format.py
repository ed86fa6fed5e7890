"""The memory format of a model."""

from typing import Any

import torch
from torch import nn


def to_channels_last(model: nn.Module) -> None:
    """Store the feature maps of a model as (batch, height, width, channels), except where that can crash.

    On CPUs the backward pass of torch 2.13 (oneDNN 3.12) can write beyond its memory in this format. That concerns 1x1 convolutions
    with a stride and fewer input channels than a vector has numbers, 16 with AVX-512 and 8 with AVX2, such as the shortcuts of a
    narrow ResNet (https://github.com/uxlfoundation/oneDNN/issues/6035).

    Args:
        model (nn.Module): The model, which is changed.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(16, 4, 3))
        >>> to_channels_last(model)
        >>> model[0].weight.is_contiguous(memory_format=torch.channels_last)
        True
    """
    # mypy knows no overload of `Module.to` with a memory format alone.
    channels_last: Any = dict(memory_format=torch.channels_last)
    contiguous: Any = dict(memory_format=torch.contiguous_format)
    model.to(**channels_last)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and _can_crash(module):
            module.to(**contiguous)
            module.register_forward_pre_hook(lambda _, inputs: tuple(value.contiguous() for value in inputs))


def _can_crash(module: nn.Conv2d) -> bool:
    is_pointwise = module.kernel_size == (1, 1) and max(module.stride) > 1
    return is_pointwise and module.in_channels < 16 and module.weight.device.type == 'cpu'
