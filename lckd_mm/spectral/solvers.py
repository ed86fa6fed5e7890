r"""Three ways to the largest singular value of transmitting matrices, with the factors of its gradient.

A solver has two halves. ``start`` is given some images of one pair, whose maps are then in the cache, and needs the maps no
more when it is done. ``finish`` is given what ``start`` returned for all images of all pairs, and ends with
:class:`Factors` of each pair. Everything is of A = N T = F1 W F2^T, W diagonal; vectors are rows. The mathematics is in
docs/spectral.md.
"""

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from .operator import PairOperator


class Factors(NamedTuple):
    r"""The spectral norm of A = F1 W F2^T, and its gradient as a sum of R outer products.

    :math:`\partial\sigma/\partial F_1 = \sum_r l_r p_r^\top` with :math:`p_r = W F_2^\top r_r`, and
    :math:`\partial\sigma/\partial F_2 = \sum_r r_r q_r^\top` with :math:`q_r = W F_1^\top l_r`. R is 1 where the singular
    pair (u, v) itself is known, because there :math:`\partial\sigma/\partial A = u v^\top`.

    Attributes:
        sigma: (B,).
        left: l, (B, R, C1).
        right: r, (B, R, C2).
        left_at_positions: q, (B, R, N).
        right_at_positions: p, (B, R, N).
    """

    sigma: Tensor
    left: Optional[Tensor] = None
    right: Optional[Tensor] = None
    left_at_positions: Optional[Tensor] = None
    right_at_positions: Optional[Tensor] = None


class Solver(NamedTuple):
    """``start(operator, n_iters, with_gradient)`` to tensors that begin with (b,); ``finish(parts, with_gradient)``."""

    start: Callable[[PairOperator, int, bool], Tuple[Tensor, ...]]
    finish: Callable[[Sequence[Tuple[Tensor, ...]], bool], List[Factors]]


# -- power iteration ---------------------------------------------------------------------------------------------------


def iterate_power(operator: PairOperator, n_iters: int, with_gradient: bool) -> Tuple[Tensor, ...]:
    r"""Power iteration on :math:`A A^\top` from the all-ones vector, as the authors' ImageNet code runs it.

    :math:`\sigma = \sqrt{\lVert A A^\top u_{k-1} \rVert}` with :math:`u_j = A A^\top u_{j-1} / \lVert\cdot\rVert`.
    Far from convergence the value depends on the iterations, so its gradient does too: it is the exact derivative of
    the k steps, what autograd gives the published code, of rank 2k.
    """
    u, _ = _normalise(operator.ones())
    steps = []
    for _ in range(n_iters):
        # A A^T u has the scale of A squared, which overflows float32 where A itself does not: keep the two norms apart.
        v, v_norm = _normalise(operator.transposed(u)[0])
        u_next, u_norm = _normalise(operator(v)[0])
        steps.append((u, v, v_norm, u_norm))
        u = u_next
    sigma = v_norm.sqrt() * u_norm.sqrt()
    if not with_gradient:
        return (sigma.flatten(),)

    # Reverse sweep; g is the adjoint of the product A A^T u of the step at hand, before it was normalised.
    g = _divide(u, 2 * sigma)
    lefts, rights = [], []
    for index in reversed(range(n_iters)):
        u, v, v_norm, _ = steps[index]
        adjoint_v, _ = operator.transposed(g)
        lefts += [g * v_norm, u]
        rights += [v, adjoint_v]
        if index:
            g, _ = operator(adjoint_v)
            g = g - u * (u * g).sum(2, keepdim=True)
            _, _, v_norm_before, u_norm_before = steps[index - 1]
            g = _divide(_divide(g, v_norm_before), u_norm_before)
    return _with_positions(operator, sigma.flatten(), torch.cat(lefts, 1), torch.cat(rights, 1))


# -- exact -------------------------------------------------------------------------------------------------------------


def decompose(operator: PairOperator, n_iters: int, with_gradient: bool) -> Tuple[Tensor, ...]:
    """The exact singular value decomposition of the formed matrix, in float64 whatever the input: the yardstick."""
    dtype = operator.f1.matrix.dtype
    matrix = operator.form(operator.f1.matrix.double(), operator.f2.matrix.double())
    finite = torch.isfinite(matrix).flatten(1).all(1)
    matrix = matrix.masked_fill(~finite[:, None, None], 0)
    if not with_gradient:
        return (torch.linalg.svdvals(matrix)[:, 0].masked_fill(~finite, torch.nan).to(dtype),)
    p, s, qh = torch.linalg.svd(matrix, full_matrices=False)
    sigma = s[:, 0].masked_fill(~finite, torch.nan)
    found = (sigma != 0)[:, None, None]
    left, right = p.mT[:, :1] * found, qh[:, :1] * found
    return _with_positions(operator, *(part.to(dtype) for part in (sigma, left, right)))


def _with_positions(operator: PairOperator, sigma: Tensor, left: Tensor, right: Tensor) -> Tuple[Tensor, ...]:
    return sigma, left, right, operator.left_at_positions(left), operator.right_at_positions(right)


def as_they_are(parts: Sequence[Tuple[Tensor, ...]], with_gradient: bool) -> List[Factors]:
    """Nothing is left to do."""
    return [Factors(*part) for part in parts]


# -- Lanczos -----------------------------------------------------------------------------------------------------------


def span_krylov(operator: PairOperator, n_iters: int, with_gradient: bool) -> Tuple[Tensor, ...]:
    r"""Golub-Kahan-Lanczos bidiagonalisation from the all-ones vector.

    k products with :math:`A^\top` and k with :math:`A` give k vectors v of a Krylov space and their images w = A v. The v
    are re-orthogonalised, which is enough (Simon and Zha, SIAM J. Sci. Comput. 21, 2000); what one pass leaves where the
    space is exhausted, :func:`maximise_gain` takes care of.

    Returns:
        Tuple[Tensor, ...]: v (b, k, C2) and w (b, k, C1); with a gradient also W F2^T v and W F1^T w, (b, k, N).
    """
    u, _ = _normalise(operator.ones())
    product, u_at = operator.transposed(u)
    v, alpha = _normalise(product)
    # Channels that sum to zero everywhere (a layer norm's) hide all of A from the all-ones vector. The fractional parts
    # of the multiples of the golden ratio are a start without structure, and the same at every call.
    index = torch.arange(1, v.shape[2] + 1, dtype=v.dtype, device=v.device)
    v = torch.where(alpha == 0, torch.frac(index * 0.6180339887498949) - 0.5, v)
    vs = v.new_empty(v.shape[0], n_iters, v.shape[2])
    ws, vs_at, ws_at = [], [], []
    for step in range(n_iters):
        vs[:, step : step + 1] = v
        w, v_at = operator(v)
        ws.append(w)
        vs_at.append(v_at)
        if step < n_iters - 1:
            u_at_before = u_at
            u, beta = _normalise(torch.addcmul(w, u, alpha, value=-1))
            product, u_at = operator.transposed(u)
            if with_gradient and u_at is not None:
                # w = alpha u_before + beta u, so that no further product is needed.
                ws_at.append(torch.addcmul(u_at_before * alpha, u_at, beta))
            basis = vs[:, : step + 1]
            v, alpha = _normalise(torch.baddbmm(product, torch.bmm(product, basis.mT), basis, alpha=-1))
    w = torch.cat(ws, 1)
    if not with_gradient:
        return vs, w
    if operator.formed is not None:
        return vs, w, operator.right_at_positions(vs), operator.left_at_positions(w)
    return vs, w, torch.cat(vs_at, 1), torch.cat([*ws_at, operator.left_at_positions(ws[-1])], 1)


# Added to the Gram matrix of unit vectors: an eighth of float32's rounding, and for float64 what its own sums need.
_SHIFTS = {torch.float32: 1.5e-8, torch.float64: 1.5e-14}


def maximise_gain(parts: Sequence[Tuple[Tensor, ...]], with_gradient: bool) -> List[Factors]:
    r"""The largest :math:`\lVert A v \rVert` of all unit v in the spaces that :func:`span_krylov` found.

    The power iteration from the same start has one vector in such a space: so the result is never below what that finds,
    and never above the exact value. Whatever the vectors are, orthogonal or not, it is the largest
    :math:`c^\top W W^\top c / c^\top V V^\top c`, of k x k matrices in float64 (Golub and Van Loan, Matrix
    Computations, sections 8.7 and 10.4).
    """
    grams, gains = ([_gram(part[side]) for part in parts] for side in (0, 1))
    gram, gain = torch.cat(grams), torch.cat(gains)
    # A map that is not finite shows in its first product already, and the decompositions would refuse it.
    finite = gain.sum((1, 2), keepdim=True).isfinite()
    gram, gain = gram.where(finite, 0), gain.where(finite, 0)
    # Vectors that vanished leave the Gram matrix singular. The shift keeps them from being divided by rounding; it lowers
    # the result by less than the rounding of the maps' dtype does.
    dtype = parts[0][0].dtype
    gram.diagonal(dim1=1, dim2=2).add_(_SHIFTS[dtype])
    factor, _ = torch.linalg.cholesky_ex(gram)
    half = torch.linalg.solve_triangular(factor, gain, upper=False)
    reduced = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    eigenvalues, eigenvectors = torch.linalg.eigh(reduced)
    sigma = eigenvalues[:, -1].clamp_min(0).sqrt()
    sigmas = sigma.where(finite.flatten(), torch.nan).to(dtype).chunk(len(parts))
    if not with_gradient:
        return [Factors(one) for one in sigmas]
    right = torch.linalg.solve_triangular(factor.mT, eigenvectors[:, :, -1:], upper=True).mT
    left = _divide(right, sigma[:, None, None])
    # Where there is nothing to gain, there is no gradient.
    right = (right * (left != 0)).to(dtype).chunk(len(parts))
    left = left.to(dtype).chunk(len(parts))
    return [
        Factors(sigmas[i], left[i] @ w, right[i] @ v, left[i] @ w_at, right[i] @ v_at)
        for i, (v, w, v_at, w_at) in enumerate(parts)
    ]


def _gram(vectors: Tensor) -> Tensor:
    vectors = vectors.double()
    return vectors @ vectors.mT


# -- common ------------------------------------------------------------------------------------------------------------


def _normalise(vector: Tensor) -> Tuple[Tensor, Tensor]:
    """(b, 1, C) to unit vectors and their norms (b, 1, 1); a zero vector stays zero, a NaN a NaN."""
    norm = torch.linalg.vector_norm(vector, dim=2, keepdim=True)
    return vector / norm.clamp_min(torch.finfo(vector.dtype).tiny), norm


def _divide(vector: Tensor, divisor: Tensor) -> Tensor:
    """vector / divisor, and 0 where the divisor is 0: the zero map has the zero gradient."""
    return vector / divisor.where(divisor != 0, divisor.new_ones(())) * (divisor != 0)


SOLVERS = {
    'lanczos': Solver(span_krylov, maximise_gain),
    'power': Solver(iterate_power, as_they_are),
    'svd': Solver(decompose, as_they_are),
}
