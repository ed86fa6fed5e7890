"""The spectral norm of the transmitting matrix, with its gradient in closed form (paper, section 3.2)."""

import contextlib
import dataclasses
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from . import cost_model
from .naming import unknown_name
from .operator import PairOperator
from .pairing import (
    check_extents,
    common_size,
    grid,
    n_channels,
    n_positions,
    position_weights,
    positions,
    working_dtype,
)
from .pooling import Size, spread
from .solvers import SOLVERS, Factors

METHODS = tuple(SOLVERS)


def transmitting_spectral_norm(
    x: Tensor, y: Tensor, *, method: str = 'lanczos', n_iters: int = 5, extents: Optional[Tensor] = None
) -> Tensor:
    r"""Spectral norm :math:`\sigma(F_1 F_2^\top / N)` of the transmitting matrix, without forming what need not be formed.

    Args:
        x (Tensor): Map before the block, (B, C1, H1, W1), or tokens (B, N1, C1).
        y (Tensor): Map after the block, (B, C2, H2, W2), or tokens (B, N2, C2).
        method (str): ``'lanczos'``, Golub-Kahan bidiagonalisation, the most accurate for its number of products;
            ``'power'``, the published iteration; ``'svd'``, exact and slow. Defaults to ``'lanczos'``.
        n_iters (int): Products with the matrix and with its transpose (not used by ``'svd'``). The authors run 5 on
            ImageNet and 10 on CIFAR. Defaults to 5.
        extents (Tensor, optional): (B, 2), what part of the height and of the width of the maps each image fills, from the
            top left, in (0, 1]; the rest is padding, of which nothing counts. Each position counts by the part of its cell
            that lies in the image, and N is their sum. Tokens that are compared as they are have no height and width, and
            count all. Defaults to None, no padding.

    Returns:
        Tensor: (B,), float64 if one of the inputs is, float32 otherwise, also under autocast. Differentiable once in
        both arguments. A map of zeros gives 0 with a zero gradient; a map with a NaN or an infinity gives a non-finite
        value for its image alone. Where the largest singular value is a multiple one the gradient is one of the
        subgradients. The same input gives the same value at every call. For the backward pass vectors are kept,
        O(B (C1 + C2 + N)) numbers, and not the maps.

    Raises:
        TypeError: An input is not a floating point tensor, or ``n_iters`` is not an integer.
        ValueError: The maps cannot be paired (see :func:`pair_feature_maps`), ``method`` is unknown, ``n_iters`` is
            not positive, or ``extents`` is not (B, 2).

    Examples:
        >>> before = torch.randn(8, 64, 56, 56, requires_grad=True)
        >>> after = torch.randn(8, 128, 28, 28)
        >>> sigma = transmitting_spectral_norm(before, after)
        >>> sigma.sum().backward()
        >>> sigma.shape, before.grad.shape
        (torch.Size([8]), torch.Size([8, 64, 56, 56]))
    """
    return transmitting_spectral_norms((x, y), method=method, n_iters=n_iters, extents=extents)[0]


@torch.compiler.disable
def transmitting_spectral_norms(
    features: Sequence[Tensor],
    *,
    method: str = 'lanczos',
    n_iters: int = 5,
    plan: Optional[cost_model.Plan] = None,
    extents: Optional[Tensor] = None,
) -> Tensor:
    """Spectral norms of the blocks between K consecutive maps.

    Row i is ``transmitting_spectral_norm(features[i], features[i + 1])``, with less work: a map that belongs to two
    pairs is converted once and gets its whole gradient in one write.

    Args:
        features (Sequence[Tensor]): K >= 2 maps in the order of the network, (B, C, H, W) or tokens (B, N, C).
        method (str): As in :func:`transmitting_spectral_norm`. Defaults to ``'lanczos'``.
        n_iters (int): As there. Defaults to 5.
        plan (Plan, optional): The formulation; None lets :mod:`lckd_mm.spectral.cost_model` choose, which is what a
            caller wants. Defaults to None.
        extents (Tensor, optional): As there. Defaults to None.

    Returns:
        Tensor: (K - 1, B), as described there.

    Raises:
        TypeError: As there.
        ValueError: As there, or fewer than two maps.

    Examples:
        >>> stages = [torch.randn(2, 64 * 2**i, 56 // 2**i, 56 // 2**i) for i in range(4)]
        >>> transmitting_spectral_norms(stages).shape
        torch.Size([3, 2])
    """
    check_method(method)
    check_n_iters(n_iters)
    features = list(features)
    if len(features) < 2:
        raise ValueError(f'{len(features)} feature map was given, but a pair has two: give 2 maps or more.')
    sizes = [common_size(x, y) for x, y in zip(features, features[1:])]
    dtype = working_dtype(features)
    if features[0].shape[0] == 0:
        return features[0].new_zeros(len(sizes), 0, dtype=dtype)
    counts = tuple(n_positions(y) if size is None else size[0] * size[1] for y, size in zip(features[1:], sizes))
    if plan is None:
        channels = [n_channels(feature) for feature in features]
        plan = cost_model.make_plan(
            tuple(zip(channels, channels[1:], counts)),
            features[0].shape[0],
            method,
            n_iters,
            torch.finfo(dtype).bits // 8,
            features[0].device.type,
        )
    with_gradient = torch.is_grad_enabled() and any(feature.requires_grad for feature in features)
    weights: List[Optional[Tensor]] = [None] * len(sizes)
    if extents is not None:
        check_extents(extents, features[0].shape[0])
        extents = extents.to(features[0].device)
        weights = [None if size is None else position_weights(extents, size, dtype) for size in sizes]
    divisors = tuple(n if w is None else w.sum((1, 2)) for n, w in zip(counts, weights))
    job = _Job(method, n_iters, tuple(sizes), tuple(weights), divisors, dtype, plan, with_gradient)
    # Empty slices tie a second derivative to the maps, for it to be refused, without keeping the maps.
    ties = [feature[:0].clone() if with_gradient else None for feature in features]
    return _SpectralNorms.apply(job, *features, *ties)[0]


def check_method(method: str) -> None:
    """Raise a ``ValueError`` that names the nearest method unless ``method`` is one of :data:`METHODS`."""
    if method not in SOLVERS:
        raise ValueError(unknown_name('method', method, METHODS))


def check_n_iters(n_iters: int) -> None:
    """Raise unless ``n_iters`` is a positive integer."""
    if isinstance(n_iters, bool) or not isinstance(n_iters, int):
        raise TypeError(f'n_iters={n_iters!r} is a {type(n_iters).__name__}, but it counts products: give an integer.')
    if n_iters < 1:
        raise ValueError(f'n_iters={n_iters} does no product at all: give 1 or more, 5 say.')


@dataclasses.dataclass(frozen=True)
class _Job:
    """All that has no gradient."""

    method: str
    n_iters: int
    sizes: Tuple[Optional[Size], ...]
    weights: Tuple[Optional[Tensor], ...]
    divisors: Tuple[Union[int, Tensor], ...]
    """N of each pair, the same for all images or (B,)."""

    dtype: torch.dtype
    plan: cost_model.Plan
    with_gradient: bool


class _SpectralNorms(torch.autograd.Function):
    """K maps and K empty ties to the (K - 1, B) norms, and four tensors of factors for each pair."""

    @staticmethod
    def forward(job: _Job, *inputs: Optional[Tensor]) -> Tuple[Tensor, ...]:
        features = inputs[: len(inputs) // 2]
        solver = SOLVERS[job.method]
        n_images = job.plan.images_per_chunk
        with _exact_float32(features[0].device.type):
            chunks = []
            for start in range(0, len(features[0]), n_images):
                maps = [feature[start : start + n_images] for feature in features]
                chunks.append(
                    [solver.start(one, job.n_iters, job.with_gradient) for one in _operators(job, maps, start)]
                )
            # Over the chunks, for each pair: some tensors that all begin with (B,).
            parts = [tuple(_cat(part, 0) for part in zip(*pair)) for pair in zip(*chunks)]
            factors = solver.finish(parts, job.with_gradient)
        sigma = torch.stack([pair.sigma / n for pair, n in zip(factors, job.divisors)])
        return sigma, *(vectors for pair in factors for vectors in pair[1:] if job.with_gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: Tuple[Any, ...], output: Tuple[Tensor, ...]) -> None:
        job, *tensors = inputs
        if job.with_gradient:
            factors = output[1:]
            ctx.mark_non_differentiable(*factors)
            ctx.save_for_backward(*factors, *tensors[len(tensors) // 2 :])
            ctx.job = job
            ctx.targets = [_Target.of(feature) for feature in tensors[: len(tensors) // 2]]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Tuple[Optional[Tensor], ...]:
        sizes, n_pairs = ctx.job.sizes, len(ctx.job.sizes)
        weights = [(row / n)[:, None, None] for row, n in zip(grad, ctx.job.divisors)]
        factors = [Factors(row, *ctx.saved_tensors[4 * i : 4 * i + 4]) for i, row in enumerate(grad)]
        ties = ctx.saved_tensors[4 * n_pairs :]
        grads: List[Optional[Tensor]] = [None] * (n_pairs + 1)
        with _exact_float32(grad.device.type), torch.no_grad():
            for index, target in enumerate(ctx.targets):
                if ctx.needs_input_grad[1 + index]:
                    terms = []
                    if index > 0:
                        pair = factors[index - 1]
                        terms.append((pair.right * weights[index - 1], pair.left_at_positions, sizes[index - 1]))
                    if index < n_pairs:
                        pair = factors[index]
                        terms.append((pair.left * weights[index], pair.right_at_positions, sizes[index]))
                    grads[index] = target.write(terms)
        if torch.is_grad_enabled():
            # `create_graph=True`: a second derivative must be an error, not a zero.
            grads = [None if g is None else _FirstDerivative.apply(g, tie) for g, tie in zip(grads, ties)]
        return None, *grads, *(None for _ in ties)


def _operators(job: _Job, maps: Sequence[Tensor], start: int) -> Iterator[PairOperator]:
    """The pairs of some images one after the other, so that the maps of the one at hand are in the cache."""
    maps = [feature.to(job.dtype) for feature in maps]
    known: Dict[Tuple[int, Optional[Size]], Tensor] = {}

    def factor(index: int, size: Optional[Size]) -> Tensor:
        if (index, size) not in known:
            known[index, size] = positions(maps[index], size)
        return known[index, size]

    for pair, (size, formed, weights) in enumerate(zip(job.sizes, job.plan.formed, job.weights)):
        weights = None if weights is None else weights[start : start + len(maps[0])]
        yield PairOperator(factor(pair, size), factor(pair + 1, size), formed, weights)
        known = {key: value for key, value in known.items() if key[0] > pair}


@dataclasses.dataclass(frozen=True)
class _Target:
    """Where the gradient of a map goes: all of the map that the backward pass has to know."""

    shape: torch.Size
    dtype: torch.dtype
    channels_last: bool

    @classmethod
    def of(cls, feature: Tensor) -> '_Target':
        # Tokens (B, N, C) are a channels-last map without a grid.
        last = feature.dim() == 3 or (
            feature.is_contiguous(memory_format=torch.channels_last) and not feature.is_contiguous()
        )
        return cls(feature.shape, feature.dtype, last)

    def write(self, terms: Sequence[Tuple[Tensor, Tensor, Optional[Size]]]) -> Tensor:
        """The sum of the terms' products, (B, R, C) over the channels with (B, R, N) over the positions of a size."""
        over_channels = _cat([channels for channels, _, _ in terms], 1)
        over_positions = _cat([at if size is None else spread(at, size, grid(self)) for _, at, size in terms], 1)
        rows, columns = (over_positions, over_channels) if self.channels_last else (over_channels, over_positions)
        shape = rows.shape[0], rows.shape[2], columns.shape[2]
        gradient = torch.empty(shape, dtype=self.dtype, device=rows.device)
        if rows.shape[1] == 1:
            # An outer product at the speed of the write; it converts to half precision on the way.
            torch.mul(rows.mT, columns, out=gradient)
        elif self.dtype == rows.dtype:
            torch.bmm(rows.mT, columns, out=gradient)
        else:
            for image, row, column in zip(gradient, rows, columns):
                image.copy_(row.mT @ column)
        if len(self.shape) == 3:
            return gradient
        if self.channels_last:
            return gradient.unflatten(1, self.shape[2:]).permute(0, 3, 1, 2)
        return gradient.view(self.shape)

    def dim(self) -> int:
        """Number of dimensions, as of a tensor."""
        return len(self.shape)


def _cat(parts: Sequence[Tensor], dim: int) -> Tensor:
    return torch.cat(parts, dim) if len(parts) > 1 else parts[0]


class _FirstDerivative(torch.autograd.Function):
    """The identity on a gradient; refuses to be differentiated."""

    @staticmethod
    def forward(grad: Tensor, tie: Tensor) -> Tensor:
        return grad.view_as(grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: Tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Tuple[Any, ...]:
        raise RuntimeError(
            'transmitting_spectral_norm has no second derivative: keep it out of the term that needs one.'
        )


@contextlib.contextmanager
def _exact_float32(device_type: str) -> Iterator[None]:
    """Neither autocast nor the TF32 and bfloat16 products that a user may have allowed for convolutions."""
    backends = [b for b in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul) if hasattr(b, 'fp32_precision')]
    # Backend by backend: torch.get_float32_matmul_precision() refuses where they were set apart. Before torch 2.9 it is
    # all there is.
    allowed = [backend.fp32_precision for backend in backends] or torch.get_float32_matmul_precision()
    try:
        for backend in backends:
            backend.fp32_precision = 'ieee'
        if not backends:
            torch.set_float32_matmul_precision('highest')
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, allowed):
            backend.fp32_precision = precision
        if not backends:
            torch.set_float32_matmul_precision(allowed)
