"""The gradient of a map as a sum of outer products, and the layout in which it is written (paper, section 3.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from .grids import Grid
from .pooling import Size, average_pool_adjoint
from .solvers import GradientFactors

# Vectors over the channels (B, R, C), vectors over the positions (B, R, N), and the grid of the positions.
Term: TypeAlias = tuple[Tensor, Tensor, Size | None]


def gradient_terms(
    index: int, factors: Sequence[GradientFactors], scales: Sequence[Tensor], sizes: Sequence[Size | None]
) -> list[Term]:
    """Return the terms of the gradient of a map: one as the second map of a pair, one as the first map of the next pair."""
    terms: list[Term] = []
    if index > 0:
        pair = factors[index - 1]
        terms.append((pair.right * scales[index - 1], pair.left_at_positions, sizes[index - 1]))
    if index < len(factors):
        pair = factors[index]
        terms.append((pair.left * scales[index], pair.right_at_positions, sizes[index]))
    return terms


@dataclasses.dataclass(frozen=True)
class GradientLayout:
    """Shape, grid, data type and memory format of a map, which is all that the backward pass needs of it."""

    shape: torch.Size
    grid: Grid | None
    dtype: torch.dtype
    channels_last: bool

    @classmethod
    def from_feature(cls, feature: Tensor, grid: Grid | None) -> GradientLayout:
        """Return the layout of a map."""
        # Tokens (B, N, C) are stored like a channels-last map.
        channels_last = feature.dim() == 3 or (
            feature.is_contiguous(memory_format=torch.channels_last) and not feature.is_contiguous()
        )
        return cls(feature.shape, grid, feature.dtype, channels_last)

    def write(self, terms: Sequence[Term]) -> Tensor:
        """Return the sum of the products of the terms, in the layout of the map."""
        over_channels = concatenate([channels for channels, _, _ in terms], 1)
        over_positions = concatenate([self._at_own_positions(values, size) for _, values, size in terms], 1)
        rows, columns = (over_positions, over_channels) if self.channels_last else (over_channels, over_positions)
        gradient = self._outer_products(rows, columns)
        if len(self.shape) == 3:
            return gradient
        if self.channels_last:
            return gradient.unflatten(1, self.shape[2:]).permute(0, 3, 1, 2)
        return gradient.view(self.shape)

    def _at_own_positions(self, values: Tensor, size: Size | None) -> Tensor:
        """Distribute vectors over the positions of a pair's grid to the positions of the map."""
        if size is None or self.grid is None:
            return values
        values = average_pool_adjoint(values, size, self.grid.size)
        return F.pad(values, (self.grid.num_prefix, 0)) if self.grid.num_prefix else values

    def _outer_products(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the sum over R of the outer products of (B, R, I) and (B, R, J), in the data type of the map."""
        shape = rows.shape[0], rows.shape[2], columns.shape[2]
        result = torch.empty(shape, dtype=self.dtype, device=rows.device)
        if rows.shape[1] == 1:
            # A single outer product runs at the speed of the write and converts to half precision in the same pass.
            torch.mul(rows.mT, columns, out=result)
        elif self.dtype == rows.dtype:
            torch.bmm(rows.mT, columns, out=result)
        else:
            for image, row, column in zip(result, rows, columns):
                image.copy_(row.mT @ column)
        return result


def concatenate(parts: Sequence[Tensor], dim: int) -> Tensor:
    """Concatenate tensors; a single one is returned without a copy."""
    return torch.cat(tuple(parts), dim) if len(parts) > 1 else parts[0]
