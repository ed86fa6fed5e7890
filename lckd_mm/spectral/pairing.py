"""Bring the two feature maps of a pair onto one grid, flattened to (batch, channels, positions)."""

import math
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_feature_maps(x: Tensor, y: Tensor) -> Tuple[Tensor, Tensor]:
    """Pool two feature maps to a common grid and flatten their positions.

    The paper pools the first map to the size of the second where it is larger (section 3.2). Here each axis is pooled
    to the smaller of the two sizes, which is the same thing for a backbone, whose maps shrink, and is defined for every
    other pair as well. A token map has no grid: it is taken as it is where the number of positions agrees, and laid
    out as a square where it has to be pooled.

    Args:
        x (Tensor): Map before the block, (B, C1, H1, W1), or tokens (B, N1, C1). Floating point.
        y (Tensor): Map after the block, (B, C2, H2, W2), or tokens (B, N2, C2). Floating point.

    Returns:
        Tuple[Tensor, Tensor]: (B, C1, N) and (B, C2, N), float64 if one of the inputs is, float32 otherwise. Views of
        the inputs where nothing had to be pooled or converted.

    Raises:
        TypeError: An input is not a floating point tensor.
        ValueError: An input has another number of dimensions or no element, the batch sizes differ, or token maps
            have numbers of tokens that fit no common grid.
    """
    for name, feature in (('x', x), ('y', y)):
        if not isinstance(feature, Tensor) or not feature.is_floating_point():
            got = feature.dtype if isinstance(feature, Tensor) else type(feature).__name__
            raise TypeError(f'{name} is {got}, but a feature map is a floating point tensor.')
        if feature.dim() not in (3, 4):
            raise ValueError(
                f'{name} has shape {tuple(feature.shape)}, but a feature map is (B, C, H, W), or (B, N, C) for tokens.'
            )
        if 0 in feature.shape[1:]:
            raise ValueError(f'{name} has shape {tuple(feature.shape)}, but a feature map has at least one element.')
    if x.shape[0] != y.shape[0]:
        raise ValueError(f'x has batch size {x.shape[0]} and y {y.shape[0]}, but a pair comes from the same images.')

    # Half precision cannot hold the sums: 256 positions of activations near 300 already exceed float16's 65504.
    dtype = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    x, y = x.to(dtype), y.to(dtype)

    if x.dim() == 3 or y.dim() == 3:
        if _n_positions(x) == _n_positions(y):
            return _flatten(x), _flatten(y)
        x, y = _as_grid(x, y), _as_grid(y, x)
    size = (min(x.shape[2], y.shape[2]), min(x.shape[3], y.shape[3]))
    return _flatten(_pool(x, size)), _flatten(_pool(y, size))


def _n_positions(feature: Tensor) -> int:
    return feature.shape[1] if feature.dim() == 3 else feature.shape[2] * feature.shape[3]


def _as_grid(feature: Tensor, other: Tensor) -> Tensor:
    """Lay tokens (B, N, C) out as a square grid (B, C, sqrt(N), sqrt(N))."""
    if feature.dim() == 4:
        return feature
    n_tokens = feature.shape[1]
    side = math.isqrt(n_tokens)
    if side * side != n_tokens:
        raise ValueError(
            f'{n_tokens} tokens and a map of {_n_positions(other)} positions cannot be paired: the numbers differ and '
            f'{n_tokens} is no square; drop the class token, or tap both maps where they have the same size.'
        )
    return feature.transpose(1, 2).unflatten(2, (side, side))


def _pool(feature: Tensor, size: Tuple[int, int]) -> Tensor:
    return feature if feature.shape[2:] == size else F.adaptive_avg_pool2d(feature, size)


def _flatten(feature: Tensor) -> Tensor:
    return feature.transpose(1, 2) if feature.dim() == 3 else feature.flatten(2)
