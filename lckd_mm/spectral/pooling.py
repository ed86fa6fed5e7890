"""Adaptive average pooling of feature maps, and its adjoint on vectors of positions."""

import functools
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

Size = Tuple[int, int]

# Measured on 2 cores (AMD Zen 3): additions of strided slices pool contiguous float32 maps 5 to 8 times faster than
# `adaptive_avg_pool2d`, which is scalar there, as long as a block and its sums stay in the cache; blocks under 2 MB pay
# for the calls instead. Its channels-last kernel and the CUDA kernels are fast and are used.
_BLOCK_BYTES = 4 << 20
# Beyond this ratio the slices are short and many.
_LARGEST_RATIO = 4


def average_pool(feature: Tensor, size: Size) -> Tensor:
    """``adaptive_avg_pool2d``, at the speed of memory for the ratios that strided convolutions leave.

    Args:
        feature (Tensor): (B, C, H, W), floating point. Differentiable.
        size (Tuple[int, int]): (h, w), each at most (H, W).

    Returns:
        Tensor: (B, C, h, w).
    """
    full = tuple(feature.shape[2:])
    if full == size:
        return feature
    differentiated = torch.is_grad_enabled() and feature.requires_grad
    weight = _window_weights(full, size, feature.dtype)
    if weight is None or differentiated or feature.device.type != 'cpu' or not feature.is_contiguous():
        return F.adaptive_avg_pool2d(feature, size)
    source = feature.flatten(0, 1)
    pooled = source.new_empty(len(source), *size)
    n_rows = max(1, _BLOCK_BYTES // (full[0] * full[1] * feature.element_size()))
    for start in range(0, len(source), n_rows):
        block = source[start : start + n_rows]
        sums = _sum_windows(_sum_windows(block, 1, size[0]), 2, size[1])
        torch.mul(sums, weight, out=pooled[start : start + n_rows])
    return pooled.view(*feature.shape[:2], *size)


def spread(positions: Tensor, size: Size, full: Size) -> Tensor:
    """The adjoint of :func:`average_pool`: each position's share goes to the pixels it was averaged over.

    Args:
        positions (Tensor): (B, R, h * w).
        size (Tuple[int, int]): (h, w).
        full (Tuple[int, int]): (H, W).

    Returns:
        Tensor: (B, R, H * W).
    """
    if size == full:
        return positions
    rows, columns = (_pooling_matrix(*axis, positions.dtype, positions.device) for axis in zip(full, size))
    return (rows.mT @ positions.unflatten(2, size) @ columns).flatten(2)


@functools.lru_cache(maxsize=64)
def _window_weights(full: Size, size: Size, dtype: torch.dtype) -> Optional[Tensor]:
    """One over the pixels that each window covers, (h, w); None where :func:`_sum_windows` does not know them."""
    rows, columns = (_window_counts(*axis, dtype) for axis in zip(full, size))
    return None if rows is None or columns is None else (rows[:, None] * columns).reciprocal()


def _window_counts(full: int, size: int, dtype: torch.dtype) -> Optional[Tensor]:
    """How many pixels of an axis each of its windows covers; None where that is irregular."""
    if full % size == 0 and full // size <= _LARGEST_RATIO:
        return torch.full((size,), full // size, dtype=dtype)
    if full == 2 * size - 1:
        counts = torch.full((size,), 3, dtype=dtype)
        counts[0] = counts[-1] = 2
        return counts
    return None


def _sum_windows(feature: Tensor, dim: int, size: int) -> Tensor:
    """Sum the windows of adaptive pooling along one axis, by adding strided slices."""
    full = feature.shape[dim]
    if full == size:
        return feature
    if full == 2 * size - 1:
        # An odd axis after a convolution of stride 2: windows of three, which share their outer pixels, of two at the
        # ends.
        odd = _every(feature, dim, 1, 2)
        sums = _every(feature, dim, 0, 2).clone()
        sums.narrow(dim, 0, size - 1).add_(odd)
        sums.narrow(dim, 1, size - 1).add_(odd)
        return sums
    ratio = full // size
    sums = _every(feature, dim, 0, ratio) + _every(feature, dim, 1, ratio)
    for offset in range(2, ratio):
        sums += _every(feature, dim, offset, ratio)
    return sums


def _every(feature: Tensor, dim: int, start: int, step: int) -> Tensor:
    return feature[(slice(None),) * dim + (slice(start, None, step),)]


@functools.lru_cache(maxsize=64)
def _pooling_matrix(full: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(size, full): row i averages pixels floor(i full / size) to ceil((i + 1) full / size) - 1."""
    index = torch.arange(size)
    first = (index * full).div(size, rounding_mode='floor')
    last = -((-(index + 1) * full).div(size, rounding_mode='floor'))
    pixel = torch.arange(full)
    covered = (pixel >= first[:, None]) & (pixel < last[:, None])
    return (covered / covered.sum(1, keepdim=True, dtype=torch.float64)).to(device, dtype)
