r"""Three solvers for the largest singular value of transmitting matrices and the factors of its gradient.

A solver has two stages. ``start`` receives a chunk of images of one pair, whose maps are then in the cache, and is the only
stage that reads the maps. ``finish`` receives the results of ``start`` for all images of all pairs and returns a
:class:`Solution` per pair. All quantities refer to A = N T = F1 W F2^T with a diagonal W. Vectors are rows.
docs/spectral.md derives the formulas.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .operator import PairOperator


class GradientFactors(NamedTuple):
    r"""The gradient of the spectral norm of A = F1 W F2^T as a sum of R outer products.

    :math:`\partial\sigma/\partial F_1 = \sum_r l_r p_r^\top` with :math:`p_r = W F_2^\top r_r`, and
    :math:`\partial\sigma/\partial F_2 = \sum_r r_r q_r^\top` with :math:`q_r = W F_1^\top l_r`. R is 1 where the solver
    returns the singular pair (u, v), because then :math:`\partial\sigma/\partial A = u v^\top`.

    Attributes:
        left: l, (B, R, C1).
        right: r, (B, R, C2).
        left_at_positions: q, (B, R, N).
        right_at_positions: p, (B, R, N).
    """

    left: Tensor
    right: Tensor
    left_at_positions: Tensor
    right_at_positions: Tensor


class Solution(NamedTuple):
    """The result of a solver for one pair.

    Attributes:
        sigma: Spectral norms of A, (B,).
        factors: Factors of the gradient; None if no gradient was requested.
    """

    sigma: Tensor
    factors: GradientFactors | None = None


class Solver(NamedTuple):
    """The two stages of a solver.

    Attributes:
        start: ``start(operator, num_iters, with_gradient)`` returns tensors whose first dimension is the chunk's batch.
        finish: ``finish(parts)`` receives these tensors, concatenated over the chunks, for each pair. Pairs without a gradient have
            fewer tensors.
    """

    start: Callable[[PairOperator, int, bool], tuple[Tensor, ...]]
    finish: Callable[[Sequence[tuple[Tensor, ...]]], list[Solution]]


# -- power iteration ---------------------------------------------------------------------------------------------------


def power_iteration(operator: PairOperator, num_iters: int, with_gradient: bool) -> tuple[Tensor, ...]:
    r"""Run the power iteration on :math:`A A^\top` from the all-ones vector, as the authors' ImageNet code does.

    :math:`\sigma = \sqrt{\lVert A A^\top u_{k-1} \rVert}` with :math:`u_j = A A^\top u_{j-1} / \lVert\cdot\rVert`.
    Far from convergence the value depends on the iterations, and so does its gradient. The gradient is therefore the exact
    derivative of the k steps, which autograd computes for the published code. Its rank is 2k.

    Args:
        operator (PairOperator): A of the images of a chunk.
        num_iters (int): k.
        with_gradient (bool): Whether to compute the factors of the gradient.

    Returns:
        tuple[Tensor, ...]: sigma (b,); with a gradient also the four tensors of :class:`GradientFactors`.

    Source:
        Paper, section 3.2.
    """
    u, _ = _normalize(operator.ones())
    steps = []
    for _ in range(num_iters):
        # A A^T u scales with A squared, which overflows float32 where A itself does not: the two norms stay separate.
        v, v_norm = _normalize(operator.rmatvec(u)[0])
        u_next, u_norm = _normalize(operator.matvec(v)[0])
        steps.append((u, v, v_norm, u_norm))
        u = u_next
    sigma = v_norm.sqrt() * u_norm.sqrt()
    if not with_gradient:
        return (sigma.flatten(),)

    # Reverse sweep; g is the adjoint of the product A A^T u of the current step, before its normalization.
    g = _divide(u, 2 * sigma)
    lefts, rights = [], []
    for index in reversed(range(num_iters)):
        u, v, v_norm, _ = steps[index]
        adjoint_v, _ = operator.rmatvec(g)
        lefts += [g * v_norm, u]
        rights += [v, adjoint_v]
        if index:
            g, _ = operator.matvec(adjoint_v)
            g = g - u * (u * g).sum(2, keepdim=True)
            _, _, previous_v_norm, previous_u_norm = steps[index - 1]
            g = _divide(_divide(g, previous_v_norm), previous_u_norm)
    return _append_positions(operator, sigma.flatten(), torch.cat(lefts, 1), torch.cat(rights, 1))


# -- singular value decomposition --------------------------------------------------------------------------------------


def full_svd(operator: PairOperator, num_iters: int, with_gradient: bool) -> tuple[Tensor, ...]:
    """Compute the singular value decomposition of the materialized matrix in float64, the reference for the other solvers.

    Args:
        operator (PairOperator): A of the images of a chunk.
        num_iters (int): Not used.
        with_gradient (bool): Whether to compute the factors of the gradient.

    Returns:
        tuple[Tensor, ...]: sigma (b,); with a gradient also the four tensors of :class:`GradientFactors`.
    """
    dtype = operator.f1.matrix.dtype
    matrix = operator.materialize(operator.f1.matrix.double(), operator.f2.matrix.double())
    is_finite = torch.isfinite(matrix).flatten(1).all(1)
    matrix = matrix.masked_fill(~is_finite[:, None, None], 0)
    if not with_gradient:
        return (torch.linalg.svdvals(matrix)[:, 0].masked_fill(~is_finite, torch.nan).to(dtype),)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    sigma = s[:, 0].masked_fill(~is_finite, torch.nan)
    is_nonzero = (sigma != 0)[:, None, None]
    left, right = u.mT[:, :1] * is_nonzero, vh[:, :1] * is_nonzero
    return _append_positions(operator, sigma.to(dtype), left.to(dtype), right.to(dtype))


def _append_positions(operator: PairOperator, sigma: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
    return sigma, left, right, operator.left_at_positions(left), operator.right_at_positions(right)


def per_pair(parts: Sequence[tuple[Tensor, ...]]) -> list[Solution]:
    """Return the results of solvers whose first stage already computed the solution of each pair."""
    return [Solution(sigma, GradientFactors(*factors) if factors else None) for sigma, *factors in parts]


# -- Lanczos -----------------------------------------------------------------------------------------------------------


def lanczos_bidiagonalization(operator: PairOperator, num_iters: int, with_gradient: bool) -> tuple[Tensor, ...]:
    r"""Run the Golub-Kahan-Lanczos bidiagonalization from the all-ones vector.

    k products with :math:`A^\top` and k with :math:`A` yield k vectors v of a Krylov space and their images w = A v. Only
    the v are reorthogonalized, which is sufficient (Simon and Zha, SIAM J. Sci. Comput. 21, 2000). One pass leaves an error
    where the space is exhausted; :func:`rayleigh_ritz` corrects it.

    Args:
        operator (PairOperator): A of the images of a chunk.
        num_iters (int): k.
        with_gradient (bool): Whether to compute the vectors over the positions that the gradient needs.

    Returns:
        tuple[Tensor, ...]: v (b, k, C2) and w (b, k, C1); with a gradient also W F2^T v and W F1^T w, (b, k, N).
    """
    u, _ = _normalize(operator.ones())
    product, u_at = operator.rmatvec(u)
    v, alpha = _normalize(product)
    # Channels that sum to zero at every position (after a layer norm) make A^T 1 zero. The fractional parts of the
    # multiples of the golden ratio are an unstructured start vector that is the same at every call.
    index = torch.arange(1, v.shape[2] + 1, dtype=v.dtype, device=v.device)
    v = torch.where(alpha == 0, torch.frac(index * 0.6180339887498949) - 0.5, v)
    vs = v.new_empty(v.shape[0], num_iters, v.shape[2])
    ws, vs_at, ws_at = [], [], []
    for step in range(num_iters):
        vs[:, step : step + 1] = v
        w, v_at = operator.matvec(v)
        ws.append(w)
        if v_at is not None:
            vs_at.append(v_at)
        if step < num_iters - 1:
            previous_u_at = u_at
            u, beta = _normalize(torch.addcmul(w, u, alpha, value=-1))
            product, u_at = operator.rmatvec(u)
            if with_gradient and u_at is not None and previous_u_at is not None:
                # w = alpha u_previous + beta u, so that no further product is needed.
                ws_at.append(torch.addcmul(previous_u_at * alpha, u_at, beta))
            basis = vs[:, : step + 1]
            v, alpha = _normalize(torch.baddbmm(product, torch.bmm(product, basis.mT), basis, alpha=-1))
    w = torch.cat(ws, 1)
    if not with_gradient:
        return vs, w
    if operator.matrix is not None:
        return vs, w, operator.right_at_positions(vs), operator.left_at_positions(w)
    return vs, w, torch.cat(vs_at, 1), torch.cat([*ws_at, operator.left_at_positions(ws[-1])], 1)


# Added to the Gram matrix of unit vectors. float32: an eighth of its rounding error; float64: the rounding error of the sums.
_GRAM_SHIFTS = {torch.float32: 1.5e-8, torch.float64: 1.5e-14}


def rayleigh_ritz(parts: Sequence[tuple[Tensor, ...]]) -> list[Solution]:
    r"""Maximize :math:`\lVert A v \rVert` over the unit v in the spaces of :func:`lanczos_bidiagonalization`.

    The vector of the power iteration from the same start lies in this space. The result is therefore never below the
    power iteration's, and never above the exact value. It is the largest
    :math:`c^\top W W^\top c / c^\top V V^\top c` with k x k matrices in float64, for orthogonal and non-orthogonal vectors
    alike. Here the rows of V and W are the vectors v and w.

    Args:
        parts (Sequence[tuple[Tensor, ...]]): Result of :func:`lanczos_bidiagonalization` for each pair.

    Returns:
        list[Solution]: One solution per pair.

    Source:
        Golub and Van Loan, Matrix Computations, sections 8.7 and 10.4.
    """
    basis_grams, image_grams = ([_gram(part[side]) for part in parts] for side in (0, 1))
    basis_gram, image_gram = torch.cat(basis_grams), torch.cat(image_grams)
    # A map with a non-finite value shows it in the first product. The decompositions would raise an error on it.
    is_finite = image_gram.sum((1, 2), keepdim=True).isfinite()
    basis_gram, image_gram = basis_gram.where(is_finite, 0), image_gram.where(is_finite, 0)
    # Zero vectors make the Gram matrix singular. The shift prevents a division by rounding errors; it lowers the result by
    # less than the rounding error of the maps' data type.
    dtype = parts[0][0].dtype
    basis_gram.diagonal(dim1=1, dim2=2).add_(_GRAM_SHIFTS[dtype])
    cholesky, _ = torch.linalg.cholesky_ex(basis_gram)
    half_reduced = torch.linalg.solve_triangular(cholesky, image_gram, upper=False)
    reduced = torch.linalg.solve_triangular(cholesky, half_reduced.mT, upper=False)
    eigenvalues, eigenvectors = torch.linalg.eigh(reduced)
    sigma = eigenvalues[:, -1].clamp_min(0).sqrt()
    sigmas = sigma.where(is_finite.flatten(), torch.nan).to(dtype).chunk(len(parts))
    solutions = [Solution(pair_sigma) for pair_sigma in sigmas]
    with_gradient = [index for index, part in enumerate(parts) if len(part) > 2]
    if not with_gradient:
        return solutions
    right = torch.linalg.solve_triangular(cholesky.mT, eigenvectors[:, :, -1:], upper=True).mT
    left = _divide(right, sigma[:, None, None])
    # Where sigma is zero, the gradient is zero.
    rights = (right * (left != 0)).to(dtype).chunk(len(parts))
    lefts = left.to(dtype).chunk(len(parts))
    for i in with_gradient:
        v, w, v_at, w_at = parts[i]
        factors = GradientFactors(lefts[i] @ w, rights[i] @ v, lefts[i] @ w_at, rights[i] @ v_at)
        solutions[i] = Solution(sigmas[i], factors)
    return solutions


def _gram(vectors: Tensor) -> Tensor:
    vectors = vectors.double()
    return vectors @ vectors.mT


# -- common ------------------------------------------------------------------------------------------------------------


def _normalize(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit vectors and the norms (b, 1, 1) of (b, 1, C); a zero vector stays zero, and NaN stays NaN."""
    # The squares of a float32 overflow above 1.8e19, and vanish below 1e-19.
    norm = torch.linalg.vector_norm(vector, dim=2, keepdim=True, dtype=torch.float64).to(vector.dtype)
    return vector / norm.clamp_min(torch.finfo(vector.dtype).tiny), norm


def _divide(vector: Tensor, divisor: Tensor) -> Tensor:
    """Return vector / divisor, and 0 where the divisor is 0: the gradient of the zero map is zero."""
    return vector / divisor.where(divisor != 0, divisor.new_ones(())) * (divisor != 0)


SOLVERS = {
    'lanczos': Solver(lanczos_bidiagonalization, rayleigh_ritz),
    'power': Solver(power_iteration, per_pair),
    'svd': Solver(full_svd, per_pair),
}
