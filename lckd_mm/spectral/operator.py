"""Products with transmitting matrices, formed or not, of one pair of taps or of several at once.

Vectors are rows, (M, 1, C): batched matrix products with a row on the left run at the speed of the cache on a CPU, those
with a column on the right at a tenth of it (measured, docs/benchmarks.md).
"""

from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
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
    r"""The linear map :math:`N T = F_1 F_2^\top` of each image of one pair.

    The division by N is left to the end, where it costs nothing.

    Args:
        f1 (Tensor): (b, C1, N).
        f2 (Tensor): (b, C2, N).
        formed (bool): Form N T, at N C1 C2 multiplications, for products that then cost C1 C2; otherwise a product
            costs N (C1 + C2). Defaults to False.
    """

    def __init__(self, f1: Tensor, f2: Tensor, formed: bool = False) -> None:
        self.batch, self.n_positions = f1.shape[0], f1.shape[2]
        self.shape = (f1.shape[1], f2.shape[1])
        self.f1, self.f2 = RowBlocks(f1), RowBlocks(f2)
        self.formed = RowBlocks(f1 @ f2.mT) if formed else None

    def __call__(self, v: Tensor) -> Tensor:
        """N T v: (b, 1, C2) to (b, 1, C1)."""
        return self.f1.right(self.f2.left(v)) if self.formed is None else self.formed.right(v)

    def transposed(self, u: Tensor) -> Tensor:
        """N T^T u: (b, 1, C1) to (b, 1, C2)."""
        return self.f2.right(self.f1.left(u)) if self.formed is None else self.formed.left(u)

    def at_positions(self, left: Tensor, right: Tensor) -> Tuple[Tensor, Tensor]:
        """R F2 and L F1 of (b, R, C2) and (b, R, C1): the factors over the positions, (b, R, N), of a gradient."""
        if left.shape[1] == 1:
            return self.f2.left(right), self.f1.left(left)
        return right @ self.f2.matrix, left @ self.f1.matrix


class StackedOperator:
    """Several pairs as one operator, so that a solver's small operations are done once for all of them.

    The pairs are stacked along the batch, M = pairs * b, and their channels padded with zeros to the widest. The
    padding stays zero in every product and takes part in no norm.

    Args:
        pairs (Sequence[PairOperator]): Of the same batch size.
    """

    def __init__(self, pairs: Sequence[PairOperator]) -> None:
        self.pairs = list(pairs)
        self.batch = self.pairs[0].batch
        self._channels = list(zip(*(pair.shape for pair in self.pairs)))
        self.shape = tuple(max(channels) for channels in self._channels)
        self._like = self.pairs[0].f1.matrix

    def __call__(self, v: Tensor) -> Tensor:
        """N T v: (M, 1, C2) to (M, 1, C1)."""
        return self._stack([pair(part) for pair, part in zip(self.pairs, self._unstack(v, 1))], 0)

    def transposed(self, u: Tensor) -> Tensor:
        """N T^T u: (M, 1, C1) to (M, 1, C2)."""
        return self._stack([pair.transposed(part) for pair, part in zip(self.pairs, self._unstack(u, 0))], 1)

    def index(self, side: int) -> Tensor:
        """1 to C for each image's channels of a side (0 left, 1 right), 0 in the padding: (M, 1, C)."""
        rows = torch.arange(1, self.shape[side] + 1, dtype=self._like.dtype, device=self._like.device)
        rows = rows.expand(self.batch, 1, -1)
        return self._stack([rows[..., :n] for n in self._channels[side]], side) if len(self.pairs) > 1 else rows

    def split(self, sigma: Tensor, left: Optional[Tensor], right: Optional[Tensor]) -> List[Tuple[Tensor, ...]]:
        """For each pair: sigma (b,), the norm of T itself, and where there are vectors left, right and both at the
        positions, of N T."""
        sigmas = [part / pair.n_positions for part, pair in zip(sigma.split(self.batch), self.pairs)]
        if left is None:
            return [(one,) for one in sigmas]
        vectors = zip(sigmas, self._unstack(left, 0), self._unstack(right, 1), self.pairs)
        return [(one, u, v, *pair.at_positions(u, v)) for one, u, v, pair in vectors]

    def _stack(self, parts: Sequence[Tensor], side: int) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        return torch.cat([F.pad(part, (0, self.shape[side] - part.shape[2])) for part in parts])

    def _unstack(self, vectors: Tensor, side: int) -> List[Tensor]:
        if len(self.pairs) == 1:
            return [vectors]
        return [part[..., :n] for part, n in zip(vectors.split(self.batch), self._channels[side])]
