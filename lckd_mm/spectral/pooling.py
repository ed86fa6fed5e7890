"""Adaptive average pooling of feature maps, and its adjoint on vectors over positions."""

import functools
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Size: TypeAlias = tuple[int, int]

# Measured on 2 cores (AMD Zen 3): adding strided slices pools contiguous float32 maps 5 to 8 times faster than the scalar
# CPU kernel of `adaptive_avg_pool2d`, while a block and its sums stay in the cache. Blocks under 2 MB are slower because of
# the number of operations. The channels-last kernel and the CUDA kernels of PyTorch are fast and are used.
_BLOCK_BYTES = 4 << 20
# Beyond this ratio the slices are short and numerous.
_MAX_RATIO = 4


def average_pool(feature: Tensor, size: Size) -> Tensor:
    """Compute ``adaptive_avg_pool2d``, at memory speed for the ratios that strided convolutions produce.

    Args:
        feature (Tensor): Floating-point map. Differentiable.
        size (tuple[int, int]): (h, w) of the result, each at most (H, W).

    Returns:
        Tensor: The pooled map; ``feature`` itself if it has this size.

    Shape:
        - feature: (B, C, H, W).
        - Output: (B, C, h, w).

    Example:
        >>> average_pool(torch.arange(4.0).view(1, 1, 2, 2), (1, 2))
        tensor([[[[1., 2.]]]])
    """
    input_size = (feature.shape[2], feature.shape[3])
    if input_size == size:
        return feature
    differentiated = torch.is_grad_enabled() and feature.requires_grad
    weight = _window_weights(input_size, size, feature.dtype)
    if weight is None or differentiated or feature.device.type != 'cpu' or not feature.is_contiguous():
        return F.adaptive_avg_pool2d(feature, size)
    source = feature.flatten(0, 1)
    pooled = source.new_empty(len(source), *size)
    rows_per_block = max(1, _BLOCK_BYTES // (input_size[0] * input_size[1] * feature.element_size()))
    for start in range(0, len(source), rows_per_block):
        block = source[start : start + rows_per_block]
        sums = _sum_windows(_sum_windows(block, 1, size[0]), 2, size[1])
        torch.mul(sums, weight, out=pooled[start : start + rows_per_block])
    return pooled.view(*feature.shape[:2], *size)


def average_pool_adjoint(values: Tensor, size: Size, input_size: Size) -> Tensor:
    """Compute the adjoint of :func:`average_pool`, which distributes each position to the pixels it was averaged from.

    Args:
        values (Tensor): Vectors over the positions of the pooled map.
        size (tuple[int, int]): (h, w) of the pooled map.
        input_size (tuple[int, int]): (H, W) of the map before pooling.

    Returns:
        Tensor: Vectors over the positions of the map before pooling; ``values`` itself if the sizes are equal.

    Shape:
        - values: (B, R, h * w).
        - Output: (B, R, H * W).

    Example:
        >>> average_pool_adjoint(torch.ones(1, 1, 2), (1, 2), (2, 2))
        tensor([[[0.5000, 0.5000, 0.5000, 0.5000]]])
    """
    if size == input_size:
        return values
    rows, columns = (_pooling_matrix(*axis, values.dtype, values.device) for axis in zip(input_size, size))
    return (rows.mT @ values.unflatten(2, size) @ columns).flatten(2)


@functools.lru_cache(maxsize=64)
def _window_weights(input_size: Size, size: Size, dtype: torch.dtype) -> Tensor | None:
    """Return 1 / number of pixels of each window, (h, w); None if :func:`_sum_windows` does not support the sizes."""
    rows, columns = (_window_lengths(*axis, dtype) for axis in zip(input_size, size))
    return None if rows is None or columns is None else (rows[:, None] * columns).reciprocal()


def _window_lengths(input_length: int, length: int, dtype: torch.dtype) -> Tensor | None:
    """Return the number of pixels in each window of one axis; None if the windows are irregular."""
    if input_length % length == 0 and input_length // length <= _MAX_RATIO:
        return torch.full((length,), input_length // length, dtype=dtype)
    if input_length == 2 * length - 1:
        lengths = torch.full((length,), 3, dtype=dtype)
        lengths[0] = lengths[-1] = 2
        return lengths
    return None


def _sum_windows(feature: Tensor, dim: int, length: int) -> Tensor:
    """Sum the windows of adaptive pooling along one axis by adding strided slices."""
    input_length = feature.shape[dim]
    if input_length == length:
        return feature
    if input_length == 2 * length - 1:
        # An odd axis after a convolution with stride 2: windows of three pixels, which share their outer pixels, and of
        # two at both ends.
        odd = _strided(feature, dim, 1, 2)
        sums = _strided(feature, dim, 0, 2).clone()
        sums.narrow(dim, 0, length - 1).add_(odd)
        sums.narrow(dim, 1, length - 1).add_(odd)
        return sums
    ratio = input_length // length
    sums = _strided(feature, dim, 0, ratio) + _strided(feature, dim, 1, ratio)
    for offset in range(2, ratio):
        sums += _strided(feature, dim, offset, ratio)
    return sums


def _strided(feature: Tensor, dim: int, start: int, step: int) -> Tensor:
    return feature[(slice(None),) * dim + (slice(start, None, step),)]


@functools.lru_cache(maxsize=64)
def _pooling_matrix(input_length: int, length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (length, input_length): row i averages pixels floor(i * ratio) to ceil((i + 1) * ratio) - 1, ratio = input / length."""
    index = torch.arange(length)
    first = (index * input_length).div(length, rounding_mode='floor')
    last = -((-(index + 1) * input_length).div(length, rounding_mode='floor'))
    pixel = torch.arange(input_length)
    is_covered = (pixel >= first[:, None]) & (pixel < last[:, None])
    return (is_covered / is_covered.sum(1, keepdim=True, dtype=torch.float64)).to(device, dtype)
