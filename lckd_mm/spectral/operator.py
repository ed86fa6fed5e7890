"""Products with the transmitting matrices of a pair of taps, formed or not.

Vectors are rows, (M, 1, C): batched matrix products with a row on the left run at the speed of the cache on a CPU, those
with a column on the right at a tenth of it (measured, docs/benchmarks.md).
"""

from typing import Optional, Tuple

import torch
from torch import Tensor


class RowBlocks:
    """A batch of matrices (b, R, S) for products with rows, read by all cores however small the batch.

    MKL reads a single matrix at half the speed of four or more: a small batch is cut into blocks along whichever axis
    is the outer one in memory, so that nothing is copied.

    Args:
        matrix (Tensor): (b, R, S), in either memory order.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self._turned = matrix.stride(2) != 1 and matrix.stride(1) == 1
        outer = matrix.mT if self._turned else matrix
        self._n_blocks = _n_blocks(*outer.shape[:2]) if outer.device.type == 'cpu' and outer[0].is_contiguous() else 1
        self._blocks = outer.unflatten(1, (self._n_blocks, -1)).flatten(0, 1) if self._n_blocks > 1 else outer

    def left(self, vector: Tensor) -> Tensor:
        """v M: (b, 1, R) to (b, 1, S)."""
        return self._across(vector) if self._turned else self._along(vector)

    def right(self, vector: Tensor) -> Tensor:
        """v M^T: (b, 1, S) to (b, 1, R)."""
        return self._along(vector) if self._turned else self._across(vector)

    def _along(self, vector: Tensor) -> Tensor:
        """Each block takes its part of the vector; the products are added."""
        if self._n_blocks == 1:
            return torch.bmm(vector, self._blocks)
        parts = torch.bmm(vector.reshape(len(self._blocks), 1, -1), self._blocks)
        return parts.unflatten(0, (-1, self._n_blocks)).sum(1)

    def _across(self, vector: Tensor) -> Tensor:
        """Each block gives its part of the product."""
        if self._n_blocks == 1:
            return torch.bmm(vector, self._blocks.mT)
        parts = torch.bmm(vector.expand(-1, self._n_blocks, -1).reshape(len(self._blocks), 1, -1), self._blocks.mT)
        return parts.view(len(vector), 1, -1)


def _n_blocks(batch: int, rows: int) -> int:
    """The fewest blocks of equal size that make four products or more of the batch."""
    wanted = -(-4 // batch)
    return next((n for n in range(wanted, 17) if rows % n == 0), 1) if wanted > 1 else 1


class PairOperator:
    r"""The linear map :math:`A = F_1 W F_2^\top` of each image of a pair; the division by N is left to the end.

    W is diagonal, how much each position counts, and the identity where all count alike. It costs nothing: only vectors over
    the positions, and the smaller map where A is formed, are multiplied by it.

    Args:
        f1 (Tensor): (b, C1, N).
        f2 (Tensor): (b, C2, N).
        formed (bool): Form A, at N C1 C2 multiplications, for products that then cost C1 C2; otherwise a product costs
            N (C1 + C2). Defaults to False.
        weights (Tensor, optional): The diagonal of W, (b, 1, N). Defaults to None, all 1.
    """

    def __init__(self, f1: Tensor, f2: Tensor, formed: bool = False, weights: Optional[Tensor] = None) -> None:
        self.f1, self.f2, self.weights = RowBlocks(f1), RowBlocks(f2), weights
        self.formed = RowBlocks(self.form(f1, f2)) if formed else None

    def form(self, f1: Tensor, f2: Tensor) -> Tensor:
        """F1 W F2^T, (b, C1, C2)."""
        if f1.shape[1] < f2.shape[1]:
            return self._weighed(f1) @ f2.mT
        return f1 @ self._weighed(f2).mT

    def _weighed(self, rows: Tensor) -> Tensor:
        return rows if self.weights is None else rows * self.weights.to(rows.dtype)

    def left_at_positions(self, u: Tensor) -> Tensor:
        """W F1^T u, (b, R, C1) to (b, R, N)."""
        return self._weighed(self.f1.left(u) if u.shape[1] == 1 else u @ self.f1.matrix)

    def right_at_positions(self, v: Tensor) -> Tensor:
        """W F2^T v, (b, R, C2) to (b, R, N)."""
        return self._weighed(self.f2.left(v) if v.shape[1] == 1 else v @ self.f2.matrix)

    def __call__(self, v: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """A v, (b, 1, C2) to (b, 1, C1), and on the way there W F2^T v, (b, 1, N), unless A is formed."""
        if self.formed is not None:
            return self.formed.right(v), None
        at_positions = self.right_at_positions(v)
        return self.f1.right(at_positions), at_positions

    def transposed(self, u: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """A^T u, (b, 1, C1) to (b, 1, C2), and on the way there W F1^T u, (b, 1, N), unless A is formed."""
        if self.formed is not None:
            return self.formed.left(u), None
        at_positions = self.left_at_positions(u)
        return self.f2.right(at_positions), at_positions

    def ones(self) -> Tensor:
        """(b, 1, C1)."""
        matrix = self.f1.matrix
        return matrix.new_ones(matrix.shape[0], 1, matrix.shape[1])
