r"""Three ways to the largest singular value of transmitting matrices, with the factors of its gradient.

Each solver takes a :class:`StackedOperator` of M matrices A = N T, (C1, C2), and returns ``(sigma, left, right)``: sigma of
shape (M,), left (M, R, C1) and right (M, R, C2), such that :math:`\partial\sigma/\partial A = \sum_r l_r r_r^\top`. R is 1
where the singular pair itself is known, because there :math:`\partial\sigma/\partial A = u v^\top`. Vectors are rows.
The mathematics is in docs/spectral.md.
"""

from typing import Optional, Tuple

import torch
from torch import Tensor

from .operator import StackedOperator

Triplet = Tuple[Tensor, Optional[Tensor], Optional[Tensor]]

# Relative to the unit vectors' Gram matrix: an eighth of float32's rounding, and for float64 what its own sums need.
_SHIFTS = {torch.float32: 1.5e-8, torch.float64: 1.5e-14}


def solve_power(operator: StackedOperator, n_iters: int, with_gradient: bool) -> Triplet:
    r"""Power iteration on :math:`A A^\top` from the all-ones vector, as the authors' ImageNet code runs it.

    :math:`\sigma = \sqrt{\lVert A A^\top u_{k-1} \rVert}` with :math:`u_j = A A^\top u_{j-1} / \lVert\cdot\rVert`.
    Far from convergence the value depends on the iterations, so its gradient does too: it is the exact derivative of
    the k steps, what autograd gives the published code, of rank 2k.
    """
    u, _ = _normalise(operator.index(0).sign())
    steps = []
    for _ in range(n_iters):
        # A A^T u has the scale of A squared, which overflows float32 where A itself does not: keep the two norms apart.
        v, v_norm = _normalise(operator.transposed(u))
        u_next, u_norm = _normalise(operator(v))
        steps.append((u, v, v_norm, u_norm))
        u = u_next
    sigma = v_norm.sqrt() * u_norm.sqrt()
    if not with_gradient:
        return sigma.flatten(), None, None

    # Reverse sweep; g is the adjoint of the product A A^T u of the step at hand, before it was normalised.
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
    r"""Golub-Kahan-Lanczos bidiagonalisation from the all-ones vector, re-orthogonalised at its end.

    k products with :math:`A^\top` and k with :math:`A` give k vectors :math:`V` of a Krylov space and
    :math:`W = A V`. The result is the largest :math:`\lVert A v \rVert` of all unit v in that space, in which the power
    iteration from the same start has one vector: so it is never below what that finds, and never above the exact value.

    The short recurrence keeps V orthogonal until rounding grows, which it does as the space fills up. What is left is
    mended where it is cheap and exact: the maximum is that of :math:`c^\top W W^\top c / c^\top V V^\top c`, k x k
    matrices in float64, whatever the V (Golub and Van Loan, Matrix Computations, sections 8.7 and 10.4).
    """
    start = operator.index(0).sign()
    u, _ = _normalise(start)
    v, alpha = _normalise(operator.transposed(u))
    # Channels that sum to zero everywhere (a layer norm's) hide all of A from the all-ones vector. The fractional parts
    # of the multiples of the golden ratio are a start without structure, and the same at every call.
    v = torch.where(alpha == 0, torch.frac(operator.index(1) * 0.6180339887498949) - 0.5, v)
    vs, ws = [v], []
    for _ in range(min(n_iters, *operator.shape) - 1):
        w = operator(v)
        ws.append(w)
        u, beta = _normalise(torch.addcmul(w, u, alpha, value=-1))
        v, alpha = _normalise(torch.addcmul(operator.transposed(u), v, beta, value=-1))
        vs.append(v)
    ws.append(operator(v))
    rights, lefts = torch.cat(vs, 1), torch.cat(ws, 1)
    sigma, coefficients = _largest_gain(rights, lefts)
    if not with_gradient:
        return sigma, None, None
    return sigma, _divide(coefficients @ lefts, sigma[:, None, None]), coefficients @ rights


def solve_svd(operator: StackedOperator, n_iters: int, with_gradient: bool) -> Triplet:
    """The exact singular value decomposition of the formed matrix, in float64 whatever the input: the yardstick."""
    (pair,) = operator.pairs
    dtype = pair.f1.matrix.dtype
    matrix = pair.f1.matrix.double() @ pair.f2.matrix.double().mT
    finite = torch.isfinite(matrix).flatten(1).all(1)
    matrix = matrix.masked_fill(~finite[:, None, None], 0)
    if not with_gradient:
        return torch.linalg.svdvals(matrix)[:, 0].masked_fill(~finite, torch.nan).to(dtype), None, None
    p, s, qh = torch.linalg.svd(matrix, full_matrices=False)
    sigma = s[:, 0].masked_fill(~finite, torch.nan)
    found = (sigma != 0)[:, None, None]
    return sigma.to(dtype), (p.mT[:, :1] * found).to(dtype), (qh[:, :1] * found).to(dtype)


def _normalise(vector: Tensor) -> Tuple[Tensor, Tensor]:
    """(M, 1, C) to unit vectors and their norms (M, 1, 1); a zero vector stays zero, a NaN a NaN."""
    norm = torch.linalg.vector_norm(vector, dim=2, keepdim=True)
    return vector / norm.clamp_min(torch.finfo(vector.dtype).tiny), norm


def _divide(vector: Tensor, divisor: Tensor) -> Tensor:
    """vector / divisor, and 0 where the divisor is 0: the zero map has the zero gradient."""
    return vector / divisor.where(divisor != 0, divisor.new_ones(())) * (divisor != 0)


def _largest_gain(vectors: Tensor, images: Tensor) -> Tuple[Tensor, Tensor]:
    r"""The largest :math:`\lVert \sum_j c_j w_j \rVert / \lVert \sum_j c_j v_j \rVert`, with its c.

    Args:
        vectors (Tensor): v, (M, k, C2).
        images (Tensor): w, (M, k, C1).

    Returns:
        Tuple[Tensor, Tensor]: The gain (M,), and c (M, 1, k) such that :math:`\sum_j c_j v_j` is a unit vector.
    """
    v, w = vectors.double(), images.double()
    gram, gain = v @ v.mT, w @ w.mT
    # A map that is not finite shows in the first image already, and the decompositions would refuse it.
    finite = gain.sum((1, 2), keepdim=True).isfinite()
    gram, gain = gram.where(finite, 0), gain.where(finite, 0)
    # Vectors that vanished, or that repeat others, leave the Gram matrix singular. The shift keeps them from being
    # divided by rounding; it lowers the result by less than the rounding of the maps' dtype does.
    gram.diagonal(dim1=1, dim2=2).add_(_SHIFTS[vectors.dtype])
    factor, _ = torch.linalg.cholesky_ex(gram)
    half = torch.linalg.solve_triangular(factor, gain, upper=False)
    reduced = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    eigenvalues, eigenvectors = torch.linalg.eigh(reduced)
    coefficients = torch.linalg.solve_triangular(factor.mT, eigenvectors[:, :, -1:], upper=True)
    sigma = eigenvalues[:, -1].clamp_min(0).sqrt().where(finite.flatten(), torch.nan)
    return sigma.to(vectors.dtype), coefficients.mT.to(vectors.dtype)
