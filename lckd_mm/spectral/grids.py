"""The height and width of feature maps: a map has them in its shape, tokens need them as an argument."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from .pooling import Size


class UnknownGridError(ValueError):
    """Tokens have to be pooled, but their height and width are not given."""


class Grid(NamedTuple):
    """The arrangement of the positions of a map, row by row.

    Attributes:
        height (int): Number of rows.
        width (int): Number of columns.
        num_prefix (int): Number of leading tokens without a place in the grid, such as a class token.
    """

    height: int
    width: int
    num_prefix: int = 0

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.height, self.width

    @property
    def num_positions(self) -> int:
        """Number of tokens, those without a place included."""
        return self.height * self.width + self.num_prefix


def resolve_grids(features: Sequence[Tensor], grids: Sequence[Sequence[int] | None] | None) -> list[Grid | None]:
    """Return the grid of each map; None for tokens whose grid is not given.

    Args:
        features (Sequence[Tensor]): The maps, (B, C, H, W), or (B, N, C) for tokens.
        grids (Sequence[Sequence[int] | None], optional): (h, w), or (h, w, p) with p leading tokens without a place, of each map.

    Returns:
        list[Grid | None]: The grids.

    Raises:
        ValueError: There is not one entry per map, or an entry is not the grid of its map.

    Example:
        >>> import torch
        >>> resolve_grids([torch.ones(1, 8, 4, 9), torch.ones(1, 37, 8)], [None, (4, 9, 1)])
        [Grid(height=4, width=9, num_prefix=0), Grid(height=4, width=9, num_prefix=1)]
    """
    if grids is None:
        return [_grid_of_map(feature) for feature in features]
    if len(grids) != len(features):
        raise ValueError(f'grids has {len(grids)} entries for {len(features)} maps: give one per map, (h, w) or None.')
    return [_resolve(feature, grid) for feature, grid in zip(features, grids)]


def _grid_of_map(feature: Tensor) -> Grid | None:
    is_map = isinstance(feature, Tensor) and feature.dim() == 4
    return Grid(feature.shape[2], feature.shape[3]) if is_map else None


def _resolve(feature: Tensor, given: Sequence[int] | None) -> Grid | None:
    actual = _grid_of_map(feature)
    if given is None:
        return actual
    is_valid = len(given) in (2, 3) and all(isinstance(n, int) for n in given) and min(given[:2]) > 0 <= min(given)
    if not is_valid:
        raise ValueError(
            f'the grid {tuple(given)} is not valid: give (h, w), or (h, w, p) with p leading tokens without a place, such as a class token.'
        )
    grid = Grid(*given)
    if actual is not None and grid != actual:
        raise ValueError(
            f'the grid {tuple(given)} is not that of a map of {actual.size}: give None for maps (B, C, H, W).'
        )
    if actual is None and isinstance(feature, Tensor) and feature.dim() == 3 and grid.num_positions != feature.shape[1]:
        raise ValueError(
            f'the grid {tuple(given)} has {grid.num_positions} positions for {feature.shape[1]} tokens: give (h, w) with h * w tokens, or '
            '(h, w, p) with p further leading ones, such as a class token.'
        )
    return grid
