r"""Three ways to the largest singular value of a transmitting matrix, with the factors of its gradient.

Each solver returns ``(sigma, left, right)`` with sigma of shape (B,), left of (B, C1, R) and right of (B, C2, R), such
that :math:`\partial\sigma/\partial T = \sum_r l_r r_r^\top`. R is 1 where the singular pair itself is known, because
there :math:`\partial\sigma/\partial T = u v^\top`.
"""

from typing import Optional, Tuple

import torch
from torch import Tensor

from .operator import TransmittingOperator

Triplet = Tuple[Tensor, Optional[Tensor], Optional[Tensor]]


def solve_power(f1: Tensor, f2: Tensor, n_iters: int, with_gradient: bool) -> Triplet:
    r"""Power iteration on :math:`T T^\top` from the all-ones vector, as the authors' ImageNet code runs it.

    :math:`\sigma = \sqrt{\lVert T T^\top u_{k-1} \rVert}` with :math:`u_j = T T^\top u_{j-1} / \lVert\cdot\rVert`.
    Far from convergence the value depends on the iterations, so its gradient does too: it is the exact derivative of
    the k steps, what autograd gives the published code, of rank 2k.
    """
    operator = TransmittingOperator(f1, f2)
    u = _normalise(f1.new_ones(f1.shape[:2]))[0]
    steps = []
    for _ in range(n_iters):
        # T T^T u has the scale of T squared, which overflows float32 where T itself does not: keep the two norms apart.
        v, v_norm = _normalise(operator.transposed(u))
        u_next, u_norm = _normalise(operator(v))
        steps.append((u, v, v_norm, u_norm))
        u = u_next
    sigma = (v_norm * u_norm).sqrt()
    if not with_gradient:
        return sigma.squeeze(1), None, None

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
            g = g - u * (u * g).sum(1, keepdim=True)
            _, _, v_norm_before, u_norm_before = steps[index - 1]
            g = _divide(_divide(g, v_norm_before), u_norm_before)
    return sigma.squeeze(1), torch.stack(left, 2), torch.stack(right, 2)


def solve_lanczos(f1: Tensor, f2: Tensor, n_iters: int, with_gradient: bool) -> Triplet:
    r"""Golub-Kahan-Lanczos bidiagonalisation with full re-orthogonalisation.

    After k products with :math:`T` and k with :math:`T^\top`, :math:`U^\top T V` is a k x (k+1) bidiagonal matrix whose
    largest singular value is the largest that any vectors of the two Krylov spaces can reach, so never below what the
    power iteration finds in the same spaces (Golub and Van Loan, Matrix Computations, section 10.4).
    """
    operator = TransmittingOperator(f1, f2)
    n_iters = min(n_iters, f1.shape[1], f2.shape[1])
    v = _start_vector(f2).expand(f2.shape[:2])
    lefts, rights, alphas, betas = [], [v], [], []
    scale = f1.new_zeros(f1.shape[0], 1)
    for step in range(n_iters):
        u = operator(v)
        if step:
            u = u - betas[-1] * lefts[-1]
        u, alpha = _next_basis_vector(u, lefts, scale)
        scale = torch.maximum(scale, alpha)
        lefts.append(u)
        alphas.append(alpha)
        v = operator.transposed(u) - alpha * v
        v, beta = _next_basis_vector(v, rights, scale)
        scale = torch.maximum(scale, beta)
        rights.append(v)
        betas.append(beta)

    bidiagonal = f1.new_zeros(f1.shape[0], n_iters, n_iters + 1)
    bidiagonal.diagonal(dim1=1, dim2=2).copy_(torch.cat(alphas, 1))
    bidiagonal.diagonal(offset=1, dim1=1, dim2=2).copy_(torch.cat(betas, 1))
    # The first product already carries every NaN and infinity of the two maps, and the SVD would refuse them.
    finite = torch.isfinite(alphas[0]) & torch.isfinite(betas[0])
    p, s, qh = torch.linalg.svd(bidiagonal.where(finite.unsqueeze(2), bidiagonal.new_zeros(())), full_matrices=False)
    sigma = s[:, 0].where(finite.squeeze(1), s.new_full((), torch.nan))
    if not with_gradient:
        return sigma, None, None
    found = (sigma != 0).unsqueeze(1)
    left = torch.stack(lefts, 2) @ (p[:, :, 0] * found).unsqueeze(2)
    right = torch.stack(rights, 2) @ (qh[:, 0, :] * found).unsqueeze(2)
    return sigma, left, right


def solve_svd(f1: Tensor, f2: Tensor, n_iters: int, with_gradient: bool) -> Triplet:
    """The exact singular value decomposition of the formed matrix, in float64 whatever the input: the yardstick."""
    matrix = f1.double() @ f2.double().transpose(1, 2) / f1.shape[2]
    finite = torch.isfinite(matrix).flatten(1).all(1)
    matrix = matrix.where(finite[:, None, None], matrix.new_zeros(()))
    if not with_gradient:
        s = torch.linalg.svdvals(matrix)
        return s[:, 0].where(finite, s.new_full((), torch.nan)).to(f1.dtype), None, None
    p, s, qh = torch.linalg.svd(matrix, full_matrices=False)
    sigma = s[:, 0].where(finite, s.new_full((), torch.nan))
    found = (sigma != 0).unsqueeze(1)
    left, right = p[:, :, 0] * found, qh[:, 0, :] * found
    return sigma.to(f1.dtype), left.unsqueeze(2).to(f1.dtype), right.unsqueeze(2).to(f1.dtype)


def _normalise(vector: Tensor) -> Tuple[Tensor, Tensor]:
    """(B, C) to unit vectors and their norms (B, 1); a zero vector stays zero."""
    norm = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    return _divide(vector, norm), norm


def _divide(vector: Tensor, divisor: Tensor) -> Tensor:
    """vector / divisor, and 0 where the divisor is 0: the zero map has the zero gradient."""
    return vector / divisor.where(divisor != 0, divisor.new_ones(())) * (divisor != 0)


def _next_basis_vector(vector: Tensor, basis: list, scale: Tensor) -> Tuple[Tensor, Tensor]:
    """Orthogonalise against the basis and normalise; mere rounding (the Krylov space is exhausted) becomes 0."""
    if basis:
        stacked = torch.stack(basis, 2)
        # Twice is enough (Parlett, The Symmetric Eigenvalue Problem, section 6.9).
        for _ in range(2):
            vector = vector - (stacked @ (stacked.transpose(1, 2) @ vector.unsqueeze(2))).squeeze(2)
    norm = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    # Rounding leaves about eps * scale * sqrt(C) of a vector that should vanish; written so that NaN is kept.
    rounding = 4 * torch.finfo(vector.dtype).eps * scale * vector.shape[1] ** 0.5
    norm = norm.masked_fill(norm <= rounding, 0)
    return _divide(vector, norm), norm


def _start_vector(f2: Tensor) -> Tensor:
    """A fixed unit vector (1, C2) without structure.

    All-ones would be orthogonal to the range of T wherever the channels sum to zero, and random numbers would make two
    calls differ; the fractional parts of the multiples of the golden ratio do neither.
    """
    index = torch.arange(1, f2.shape[1] + 1, device=f2.device, dtype=f2.dtype)
    vector = torch.frac(index * 0.6180339887498949) - 0.5
    return (vector / torch.linalg.vector_norm(vector)).unsqueeze(0)
