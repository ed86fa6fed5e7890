"""What two feature maps have in common: the grid on which the positions of a pair are compared."""

import math
from typing import Optional, Sequence, Tuple

import torch
from torch import Tensor

from .pooling import Size, average_pool


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
    size = common_size(x, y)
    dtype = working_dtype((x, y))
    return positions(x.to(dtype), size), positions(y.to(dtype), size)


def common_size(x: Tensor, y: Tensor) -> Optional[Size]:
    """The grid (h, w) of a pair; None where token maps agree as they are. Raises as :func:`pair_feature_maps`."""
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
    if (x.dim() == 3 or y.dim() == 3) and n_positions(x) == n_positions(y):
        return None
    (height_x, width_x), (height_y, width_y) = grid(x, y), grid(y, x)
    return min(height_x, height_y), min(width_x, width_y)


def working_dtype(features: Sequence[Tensor]) -> torch.dtype:
    """float64 if one of the maps is, float32 otherwise.

    Half precision cannot hold the sums: 256 positions of activations near 300 already exceed float16's 65504.
    """
    return torch.float64 if any(feature.dtype == torch.float64 for feature in features) else torch.float32


def grid(feature: Tensor, other: Optional[Tensor] = None) -> Size:
    """(H, W) of a map; tokens are laid out as a square. ``other`` is named in the error of those that cannot be."""
    if feature.dim() == 4:
        return tuple(feature.shape[2:])
    n_tokens = feature.shape[1]
    side = math.isqrt(n_tokens)
    if side * side != n_tokens:
        raise ValueError(
            f'{n_tokens} tokens and a map of {n_positions(other)} positions cannot be paired: the numbers differ and '
            f'{n_tokens} is no square; drop the class token, or tap both maps where they have the same size.'
        )
    return side, side


def positions(feature: Tensor, size: Optional[Size]) -> Tensor:
    """A map, or tokens, as (B, C, N) on the grid of its pair; a view where nothing has to be pooled or copied."""
    if feature.dim() == 3:
        if size is None:
            return feature.transpose(1, 2)
        feature = feature.transpose(1, 2).unflatten(2, grid(feature))
    return (feature if size is None else average_pool(feature, size)).flatten(2)


def n_channels(feature: Tensor) -> int:
    """C of a map or of tokens."""
    return feature.shape[1] if feature.dim() == 4 else feature.shape[2]


def n_positions(feature: Tensor) -> int:
    """H W of a map, N of tokens."""
    return feature.shape[1] if feature.dim() == 3 else feature.shape[2] * feature.shape[3]


def position_weights(extents: Tensor, size: Size, dtype: torch.dtype) -> Tensor:
    """How much of each position's cell lies in the image.

    Args:
        extents (Tensor): (B, 2), the parts of height and width that the image fills, from the top left, in (0, 1].
        size (Tuple[int, int]): (h, w) of the grid.
        dtype (torch.dtype): Of the result.

    Returns:
        Tensor: (B, 1, h * w), 1 inside, 0 outside, a part at the border.
    """
    rows, columns = (
        (part.to(torch.float64)[:, None] * n - torch.arange(n, device=part.device)).clamp(0, 1)
        for part, n in zip(extents.unbind(1), size)
    )
    return (rows[:, :, None] * columns[:, None, :]).flatten(1)[:, None].to(dtype)


def check_extents(extents: Tensor, batch_size: int) -> None:
    """Raise unless they are (B, 2) and numbers; what they hold is not read, which on a GPU would wait for it."""
    if not isinstance(extents, Tensor) or not extents.is_floating_point():
        got = extents.dtype if isinstance(extents, Tensor) else type(extents).__name__
        raise TypeError(f'extents is {got}, but parts of height and width are a floating point tensor.')
    if tuple(extents.shape) != (batch_size, 2):
        raise ValueError(
            f'extents has shape {tuple(extents.shape)}, but holds the parts of height and width of {batch_size} images: give '
            f'{(batch_size, 2)}.'
        )
