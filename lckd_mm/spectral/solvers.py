r"""Three ways to the largest singular value of transmitting matrices, with the factors of its gradient.

Each solver takes a :class:`StackedOperator` of M matrices (C1, C2) and returns ``(sigma, left, right)``: sigma of shape
(M,), left (M, R, C1) and right (M, R, C2), such that :math:`\partial\sigma/\partial T = \sum_r l_r r_r^\top`. R is 1
where the singular pair itself is known, because there :math:`\partial\sigma/\partial T = u v^\top`. Vectors are rows.
The mathematics is in docs/spectral.md.
"""

from typing import Optional, Tuple

import torch
from torch import Tensor

from .operator import StackedOperator

Triplet = Tuple[Tensor, Optional[Tensor], Optional[Tensor]]


def solve_power(operator: StackedOperator, n_iters: int, with_gradient: bool) -> Triplet:
    r"""Power iteration on :math:`T T^\top` from the all-ones vector, as the authors' ImageNet code runs it.

    :math:`\sigma = \sqrt{\lVert T T^\top u_{k-1} \rVert}` with :math:`u_j = T T^\top u_{j-1} / \lVert\cdot\rVert`.
    Far from convergence the value depends on the iterations, so its gradient does too: it is the exact derivative of
    the k steps, what autograd gives the published code, of rank 2k.
    """
    u = _ones(operator)
    steps = []
    for _ in range(n_iters):
        # T T^T u has the scale of T squared, which overflows float32 where T itself does not: keep the two norms apart.
        v, v_norm = _normalise(operator.transposed(u))
        u_next, u_norm = _normalise(operator(v))
        steps.append((u, v, v_norm, u_norm))
        u = u_next
    sigma = (v_norm * u_norm).sqrt()
    if not with_gradient:
        return sigma.flatten(), None, None

    # Reverse sweep; g is the adjoint of the product T T^T u of the step at hand, before it was normalised.
    g = _divide(u, 2 * sigma)
    left, right = [], []
    for index in reversed(range(n_iters)):
        u, v, v_norm, _ = steps[index]
        adjoint_v = operator.transposed(g)
        left += [g * v_norm, u]
        right += [v, adjoint_v]
        if index:
            g = operator(adjoint_v)
            g = g - u * (u * g).sum(2, keepdim=True)
            _, _, v_norm_before, u_norm_before = steps[index - 1]
            g = _divide(_divide(g, v_norm_before), u_norm_before)
    return sigma.flatten(), torch.cat(left, 1), torch.cat(right, 1)


def solve_lanczos(operator: StackedOperator, n_iters: int, with_gradient: bool) -> Triplet:
    r"""Golub-Kahan-Lanczos bidiagonalisation with full re-orthogonalisation, from the all-ones vector.

    After k products with :math:`T^\top` and k with :math:`T`, :math:`T V_k = U_{k+1} B` with B a (k+1) x k lower
    bidiagonal matrix. Its largest singular value is the largest :math:`\lVert T v \rVert` of all unit v in the Krylov
    space, in which the power iteration from the same start has one vector: so it is never below what that finds, and
    never above the exact value (Golub and Van Loan, Matrix Computations, section 10.4).

    Where a new vector vanishes (the Krylov space is exhausted, the map is zero, the channels sum to zero), a fixed
    fresh one takes its place and the bidiagonal entry is 0, so that what is orthogonal to the start is found as well.
    """
    n_iters = min(n_iters, *operator.shape)
    u = _ones(operator)
    lefts, rights = operator.new_rows(n_iters + 1, 0), operator.new_rows(n_iters, 1)
    lefts[:, :1] = u
    fresh = [operator.from_rows(_fresh_rows(operator, n_iters + 1, side), side) for side in (0, 1)]
    bidiagonal = torch.zeros(len(u), n_iters + 1, n_iters, dtype=u.dtype, device=u.device)
    scale = None
    for step in range(n_iters):
        v, alpha, scale = _extend(operator, rights, step, operator.transposed(u), fresh[1], scale)
        u, beta, scale = _extend(operator, lefts, step + 1, operator(v), fresh[0], scale)
        bidiagonal[:, step, step] = alpha
        bidiagonal[:, step + 1, step] = beta

    # The first products already carry every NaN and infinity of the two maps, and the SVD would refuse them.
    finite = bidiagonal[:, :2, 0].isfinite().all(1)
    bidiagonal = bidiagonal.masked_fill(~finite[:, None, None], 0)
    if not with_gradient:
        return torch.linalg.svdvals(bidiagonal)[:, 0].masked_fill(~finite, torch.nan), None, None
    p, s, qh = torch.linalg.svd(bidiagonal, full_matrices=False)
    sigma = s[:, 0].masked_fill(~finite, torch.nan)
    found = (sigma != 0)[:, None, None]
    return sigma, (p.mT[:, :1] * found) @ lefts, (qh[:, :1] * found) @ rights


def solve_svd(operator: StackedOperator, n_iters: int, with_gradient: bool) -> Triplet:
    """The exact singular value decomposition of the formed matrix, in float64 whatever the input: the yardstick."""
    (pair,) = operator.pairs
    dtype = pair.f1.matrix.dtype
    matrix = pair.form(torch.float64)
    finite = torch.isfinite(matrix).flatten(1).all(1)
    matrix = matrix.masked_fill(~finite[:, None, None], 0)
    if not with_gradient:
        return torch.linalg.svdvals(matrix)[:, 0].masked_fill(~finite, torch.nan).to(dtype), None, None
    p, s, qh = torch.linalg.svd(matrix, full_matrices=False)
    sigma = s[:, 0].masked_fill(~finite, torch.nan)
    found = (sigma != 0)[:, None, None]
    return sigma.to(dtype), (p.mT[:, :1] * found).to(dtype), (qh[:, :1] * found).to(dtype)


def _ones(operator: StackedOperator) -> Tensor:
    return _normalise(operator.from_rows(torch.ones_like(operator.arange(operator.shape[0])).unsqueeze(0), 0))[0]


def _fresh_rows(operator: StackedOperator, n: int, side: int) -> Tensor:
    """Fixed vectors (n, C) without structure, one for each place in a basis.

    Random numbers would make two calls differ; the fractional parts of the multiples of the golden ratio do not.
    """
    return torch.frac(operator.arange(n)[:, None] * operator.arange(operator.shape[side]) * 0.6180339887498949) - 0.5


def _normalise(vector: Tensor) -> Tuple[Tensor, Tensor]:
    """(M, 1, C) to unit vectors and their norms (M, 1, 1); a zero vector stays zero."""
    norm = torch.linalg.vector_norm(vector, dim=2, keepdim=True)
    return _divide(vector, norm), norm


def _divide(vector: Tensor, divisor: Tensor) -> Tensor:
    """vector / divisor, and 0 where the divisor is 0: the zero map has the zero gradient."""
    return vector / divisor.where(divisor != 0, divisor.new_ones(())) * (divisor != 0)


def _extend(
    operator: StackedOperator, basis: Tensor, index: int, vector: Tensor, fresh: Tensor, scale: Optional[Tensor]
) -> Tuple[Tensor, Tensor, Tensor]:
    """Orthogonalise a product against the first ``index`` rows of a basis and append it, normalised.

    Returns the row (M, 1, C), its length before (M,), 0 where it vanished, and the largest length so far.
    """
    known = basis[:, :index]
    if index:
        vector = _orthogonalise(vector, known)
    length = torch.linalg.vector_norm(vector, dim=2, keepdim=True)
    # Rounding leaves about eps * scale * sqrt(C) of a vector that should vanish. A NaN is no rounding: it is kept.
    rounding = 0 if scale is None else scale * (4 * operator.eps * vector.shape[2] ** 0.5)
    vanished = length <= rounding
    vector = torch.where(vanished, fresh[:, index : index + 1], vector)
    if index:
        # Twice is enough (Parlett, The Symmetric Eigenvalue Problem, section 6.9).
        vector = _orthogonalise(vector, known)
    norm = torch.linalg.vector_norm(vector, dim=2, keepdim=True)
    row = vector / norm
    if operator.smallest <= index:
        # The rows may span all the channels, of which the fresh vector then is a combination.
        row = row.masked_fill(vanished & (norm < 1e-3), 0)
    basis[:, index : index + 1] = row
    length = norm.masked_fill(vanished, 0)
    return row, length[:, 0, 0], length if scale is None else torch.maximum(scale, length)


def _orthogonalise(vector: Tensor, basis: Tensor) -> Tensor:
    return torch.baddbmm(vector, torch.bmm(vector, basis.mT), basis, alpha=-1)
