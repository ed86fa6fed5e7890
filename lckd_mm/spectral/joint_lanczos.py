r"""The Lanczos iteration for all pairs of both networks at a time, with few tensor operations and none that waits for the device.

On a GPU, the start of an operation takes longer than the arithmetic on a few vectors. Only the products with the maps are therefore
done pair by pair. The vectors of all pairs are rows of common tensors, padded with zeros to the largest number of channels, and every
step on vectors is one operation. :func:`lckd_mm.spectral.solvers.lanczos_bidiagonalization` spans the same spaces chunk by chunk,
which is faster on a CPU, because the maps of a chunk stay in its cache.

Vectors are rows, (M, 1, C), with M = P b for P pairs of b images.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .operator import PairOperator
from .solvers import GradientFactors, Solution

# After 2^18 steps of the power iteration, the relative error of a singular value is about (g / 2) e^(-2^19 g), where g is the relative gap
# of the two largest eigenvalues. Its maximum, at g = 2e-6, is 3.5e-7, a few rounding errors of float32.
_NUM_SQUARINGS = 18


def joint_lanczos(operators: Sequence[PairOperator], num_iters: int, num_with_gradient: int) -> list[Solution]:
    r"""Maximize :math:`\lVert A v \rVert` over the Krylov space of :math:`A^\top A` and :math:`A^\top 1` for each pair.

    v is orthogonalized twice against all vectors before it. The vectors v are therefore orthonormal up to rounding errors, where the space
    has k dimensions. The largest eigenvalue of the k x k matrix W W^T, whose rows are the vectors w = A v, is the square of the result.

    Args:
        operators (Sequence[PairOperator]): A of the pairs, with the same number of images.
        num_iters (int): k, the number of products with A and with its transpose.
        num_with_gradient (int): The factors of the gradient are computed for this many pairs, the first ones.

    Returns:
        list[Solution]: One solution per pair.

    Source:
        Golub and Van Loan, Matrix Computations, sections 8.2 and 10.1.
    """
    spaces = _Spaces(operators, num_iters, num_with_gradient)
    spaces.start()
    for step in range(num_iters):
        spaces.matvec(step)
        w = spaces.w[:, step : step + 1]
        if step == 0:
            # A^T A v scales with A squared, which overflows where A itself does not.
            scale = _norm(w)
        w.div_(scale)
        if step < num_iters - 1:
            spaces.rmatvec(step)
            _extend_basis(spaces.v, spaces.product, step)
    coefficients = _dominant_eigenvectors(spaces.w)
    return _solutions(spaces, coefficients, scale)


class _Spaces:
    """The vectors of all pairs, and the products that extend them.

    Attributes:
        v: (M, k, C2), the basis.
        w: (M, k, C1), its images A v, divided by the norm of the first one.
        product: (M, 1, C2), the latest A^T w.
        v_at: (G, k, N) of the first pairs, W F2^T v; pairs whose A is materialized have zeros.
        w_at: (G, k, N) of the first pairs, W F1^T w.
    """

    def __init__(self, operators: Sequence[PairOperator], num_iters: int, num_with_gradient: int) -> None:
        self.operators, self.num_iters, self.num_with_gradient = operators, num_iters, num_with_gradient
        matrix = operators[0].f1.matrix
        self.num_images = len(matrix)
        channels = [(operator.f1.matrix.shape[1], operator.f2.matrix.shape[1]) for operator in operators]
        positions = [operator.f1.matrix.shape[2] for operator in operators]
        # The last row is the product.
        right, right_of = self._allocate(matrix, num_iters + 1, [c2 for _, c2 in channels])
        self.v, self.product = right.split((num_iters, 1), 1)
        self._v_of, self._product_of = zip(*(rows.split((num_iters, 1), 1) for rows in right_of))
        self.w, self._w_of = self._allocate(matrix, num_iters, [c1 for c1, _ in channels])
        self._start = _start_vectors(tuple(c2 for _, c2 in channels), matrix.dtype, matrix.device)
        if num_with_gradient:
            at, at_of = self._allocate(matrix, 2 * num_iters, positions[:num_with_gradient])
            self.v_at, self.w_at = at.chunk(2, 1)
            self._v_at_of, self._w_at_of = zip(*(rows.chunk(2, 1) for rows in at_of))
        # Transposed once, since a view costs time on the host too.
        self._transposed = [(operator.f1.matrix.mT, operator.f2.matrix.mT) for operator in operators]

    def _allocate(self, like: Tensor, num_rows: int, lengths: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Return zeros (P b, R, C) and, for each pair, the part (b, R, its own C)."""
        rows = like.new_zeros(len(lengths) * self.num_images, num_rows, max(lengths))
        parts = rows.chunk(len(lengths))
        return rows, [part[:, :, :length] for part, length in zip(parts, lengths)]

    def start(self) -> None:
        """Set the first vector of the basis to A^T 1, normalized, or to an unstructured vector where that is zero."""
        for index, operator in enumerate(self.operators):
            if operator.matrix is not None:
                torch.sum(operator.matrix.matrix, 1, keepdim=True, out=self._product_of[index])
            else:
                at_positions = self._weight(index, operator.f1.matrix.sum(1, keepdim=True))
                torch.bmm(at_positions, self._transposed[index][1], out=self._product_of[index])
        norm = _norm(self.product)
        torch.div(self.product, norm, out=self.product)
        is_zero, product, v = (
            rows.unflatten(0, (-1, self.num_images))
            for rows in (norm == torch.finfo(self.v.dtype).tiny, self.product, self.v[:, :1])
        )
        torch.where(is_zero, self._start, product, out=v)

    def matvec(self, step: int) -> None:
        """Compute w = A v for a vector of the basis of each pair."""
        rows = slice(step, step + 1)
        for index, operator in enumerate(self.operators):
            v, w = self._v_of[index][:, rows], self._w_of[index][:, rows]
            if operator.matrix is not None:
                torch.bmm(v, operator.matrix.matrix.mT, out=w)
                continue
            if index < self.num_with_gradient:
                at_positions = torch.bmm(v, operator.f2.matrix, out=self._v_at_of[index][:, rows])
            else:
                at_positions = torch.bmm(v, operator.f2.matrix)
            torch.bmm(self._weight(index, at_positions), self._transposed[index][0], out=w)

    def rmatvec(self, step: int) -> None:
        """Compute the product A^T w for an image of the basis of each pair."""
        rows = slice(step, step + 1)
        for index, operator in enumerate(self.operators):
            w, product = self._w_of[index][:, rows], self._product_of[index]
            if operator.matrix is not None:
                torch.bmm(w, operator.matrix.matrix, out=product)
            else:
                torch.bmm(self._left_at_positions(index, step), self._transposed[index][1], out=product)

    def left_at_positions_of_last(self) -> None:
        """Compute W F1^T w for the last w, which no product has needed."""
        for index in range(self.num_with_gradient):
            if self.operators[index].matrix is None:
                self._left_at_positions(index, self.num_iters - 1)

    def _left_at_positions(self, index: int, step: int) -> Tensor:
        rows = slice(step, step + 1)
        w, f1 = self._w_of[index][:, rows], self.operators[index].f1.matrix
        if index < self.num_with_gradient:
            return self._weight(index, torch.bmm(w, f1, out=self._w_at_of[index][:, rows]))
        return self._weight(index, torch.bmm(w, f1))

    def _weight(self, index: int, at_positions: Tensor) -> Tensor:
        """Multiply vectors over the positions by the diagonal of W, in place."""
        weights = self.operators[index].weights
        return at_positions if weights is None else at_positions.mul_(weights)


@functools.lru_cache(maxsize=64)
def _start_vectors(channels: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a unit vector for each pair, (P, 1, 1, C), padded with zeros.

    Channels that sum to zero at every position (after a layer norm) make A^T 1 zero. The fractional parts of the multiples of the golden
    ratio are an unstructured vector that is the same at every call.
    """
    vectors = torch.zeros(len(channels), 1, 1, max(channels), dtype=torch.float64)
    for vector, length in zip(vectors, channels):
        values = torch.frac(torch.arange(1, length + 1, dtype=torch.float64) * 0.6180339887498949) - 0.5
        vector[0, 0, :length] = values / values.norm()
    return vectors.to(device, dtype)


def _extend_basis(v: Tensor, product: Tensor, step: int) -> None:
    """Orthogonalize the product against the first vectors of the basis, and append it to them.

    The second pass follows the normalization. Where the space is exhausted, the first pass leaves rounding errors, which are
    normalized; the second one leaves only what is orthogonal, a shorter vector or none.
    """
    basis = v[:, : step + 1]
    transposed = basis.mT
    product = torch.baddbmm(product, torch.bmm(product, transposed), basis, alpha=-1)
    product /= _norm(product)
    torch.baddbmm(product, torch.bmm(product, transposed), basis, alpha=-1, out=v[:, step + 1 : step + 2])


def _norm(vector: Tensor) -> Tensor:
    """Return the norms (M, 1, 1) as divisors in float64; those below the range of the vectors' data type are its smallest number."""
    # The squares of a float32 overflow above 1.8e19, and vanish below 1e-19.
    norm = torch.linalg.vector_norm(vector, dim=2, keepdim=True, dtype=torch.float64)
    return norm.clamp_min_(torch.finfo(vector.dtype).tiny)


def _dominant_eigenvectors(w: Tensor) -> Tensor:
    """Return the unit eigenvectors (M, 1, k) of the largest eigenvalues of W W^T.

    The matrix is squared repeatedly, 2^18 steps of the power iteration. Unlike ``torch.linalg.eigh``, this needs no iteration whose end
    depends on the values, for which the host would have to wait.
    """
    num_rows = w.shape[1]
    if num_rows == 1:
        return w.new_ones(len(w), 1, 1)
    w = w.double()
    power = torch.bmm(w, w.mT)
    # A zero matrix stays one whose trace is not zero.
    power.diagonal(dim1=1, dim2=2).add_(torch.finfo(torch.float64).tiny)
    # Of a matrix of trace 1, the largest eigenvalue is at least 1 / k. Its powers vanish below 1e-308, the range of float64.
    interval = int(math.log2(300 / math.log10(num_rows)))
    for number in range(_NUM_SQUARINGS):
        if number % interval == 0:
            power /= power.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        power = torch.bmm(power, power)
    # Of a matrix of rank 1, the row with the largest diagonal element is the most accurate one.
    index = power.diagonal(dim1=1, dim2=2).argmax(1)
    vector = power.gather(1, index[:, None, None].expand(-1, 1, num_rows))
    return vector / torch.linalg.vector_norm(vector, dim=2, keepdim=True)


def _solutions(spaces: _Spaces, coefficients: Tensor, scale: Tensor) -> list[Solution]:
    num_pairs, num_with_gradient = len(spaces.operators), spaces.num_with_gradient
    dtype = spaces.w.dtype
    coefficients = coefficients.to(dtype)
    left = torch.bmm(coefficients, spaces.w)
    norm = _norm(left)
    sigmas = (norm * scale).to(dtype).view(num_pairs, -1)
    if not num_with_gradient:
        return [Solution(sigma) for sigma in sigmas]
    spaces.left_at_positions_of_last()
    num_rows = num_with_gradient * spaces.num_images
    coefficients = coefficients[:num_rows]
    right = torch.bmm(coefficients, spaces.v[:num_rows])
    right_at = torch.bmm(coefficients, spaces.v_at)
    # Where sigma is zero, left is zero, and with it the gradient.
    divisor = norm[:num_rows].to(dtype)
    left = left[:num_rows] / divisor
    left_at = torch.bmm(coefficients / divisor, spaces.w_at)
    parts = [vectors.chunk(num_with_gradient) for vectors in (left, right, left_at, right_at)]
    solutions = []
    for index, operator in enumerate(spaces.operators):
        if index >= num_with_gradient:
            solutions.append(Solution(sigmas[index]))
            continue
        f1, f2 = operator.f1.matrix, operator.f2.matrix
        pair_left, pair_right = parts[0][index][:, :, : f1.shape[1]], parts[1][index][:, :, : f2.shape[1]]
        if operator.matrix is not None:
            factors = GradientFactors(
                pair_left, pair_right, operator.left_at_positions(pair_left), operator.right_at_positions(pair_right)
            )
        else:
            at_positions = (part[index][:, :, : f1.shape[2]] for part in parts[2:])
            factors = GradientFactors(pair_left, pair_right, *at_positions)
        solutions.append(Solution(sigmas[index], factors))
    return solutions
