"""The differentiable computation of the spectral norms, with their gradient in closed form (paper, section 3.2)."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .grids import Grid
from .operator import PairOperator
from .pairing import flatten_positions, num_channels, num_positions, pair_weights, working_dtype
from .planning import Plan, make_plan
from .pooling import Size, average_pool_adjoint
from .solvers import SOLVERS, GradientFactors


def spectral_norms(
    features: Sequence[Tensor],
    grids: Sequence[Grid | None],
    sizes: Sequence[Size | None],
    method: str,
    num_iters: int,
    plan: Plan | None,
    valid_ratios: Tensor | None,
) -> Tensor:
    """Compute the spectral norms between consecutive maps; the arguments are already checked.

    Args:
        features (Sequence[Tensor]): K maps of at least one image.
        grids (Sequence[Grid | None]): Grid of each map; None for tokens that are not pooled.
        sizes (Sequence[tuple[int, int] | None]): Common size of each pair; None for tokens that are not pooled.
        method (str): Name of the solver.
        num_iters (int): Number of products with the matrix and with its transpose.
        plan (Plan, optional): Formulation; None chooses the fastest one.
        valid_ratios (Tensor, optional): Shares of height and width that each image fills; None means no padding.

    Returns:
        Tensor: The spectral norms.

    Shape:
        - features: K times (B, C, H, W), or (B, N, C) for tokens.
        - valid_ratios: (B, 2).
        - Output: (K - 1, B).

    Example:
        >>> maps = torch.ones(2, 3, 4, 4), torch.ones(2, 5, 2, 2)
        >>> spectral_norms(maps, [Grid(4, 4), Grid(2, 2)], [(2, 2)], 'svd', 1, None, None)
        tensor([[3.8730, 3.8730]])
    """
    dtype = working_dtype(features)
    counts = [num_positions(y) if size is None else size[0] * size[1] for y, size in zip(features[1:], sizes)]
    if plan is None:
        channels = [num_channels(feature) for feature in features]
        plan = make_plan(
            tuple(zip(channels, channels[1:], counts)),
            features[0].shape[0],
            method,
            num_iters,
            torch.finfo(dtype).bits // 8,
            features[0].device.type,
        )
    with_gradient = torch.is_grad_enabled() and any(feature.requires_grad for feature in features)
    weights: list[Tensor | None] = [None] * len(sizes)
    if valid_ratios is not None:
        ratios = valid_ratios.to(features[0].device)
        weights = [pair_weights(ratios, size, grids[i : i + 2], dtype) for i, size in enumerate(sizes)]
    divisors = [n if w is None else w.sum((1, 2)) for n, w in zip(counts, weights)]
    options = _Options(
        method, num_iters, tuple(grids), tuple(sizes), tuple(weights), tuple(divisors), dtype, plan, with_gradient
    )
    # Empty slices keep the maps in the graph, so that a second derivative raises an error, without keeping their memory.
    graph_anchors = [feature[:0].clone() if with_gradient else None for feature in features]
    return _SpectralNorms.apply(options, *features, *graph_anchors)[0]


@dataclasses.dataclass(frozen=True)
class _Options:
    """All arguments without a gradient.

    Attributes:
        method: Name of the solver.
        num_iters: Number of products with the matrix and with its transpose.
        grids: Grid of each map; None for tokens that are not pooled.
        sizes: Common size of each pair; None for tokens that are not pooled.
        weights: Weights of the positions of each pair, (B, 1, N); None means all 1.
        divisors: N of each pair: one number for all images, or (B,).
        dtype: Data type of the computation.
        plan: Formulation.
        with_gradient: Whether the backward pass may follow.
    """

    method: str
    num_iters: int
    grids: tuple[Grid | None, ...]
    sizes: tuple[Size | None, ...]
    weights: tuple[Tensor | None, ...]
    divisors: tuple[int | Tensor, ...]
    dtype: torch.dtype
    plan: Plan
    with_gradient: bool


class _SpectralNorms(torch.autograd.Function):
    """Map K maps and K graph anchors to the (K - 1, B) norms and the four gradient factors of each pair."""

    @staticmethod
    def forward(options: _Options, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Solve chunk by chunk, then finish all pairs together."""
        features = inputs[: len(inputs) // 2]
        solver = SOLVERS[options.method]
        chunk_size = options.plan.images_per_chunk
        with _exact_float32(features[0].device.type):
            chunks = []
            for start in range(0, len(features[0]), chunk_size):
                maps = [feature[start : start + chunk_size] for feature in features]
                operators = _pair_operators(options, maps, start)
                chunks.append(
                    [solver.start(operator, options.num_iters, options.with_gradient) for operator in operators]
                )
            # For each pair, the tensors of all chunks are concatenated along their first dimension, the batch.
            parts = [tuple(_cat(part, 0) for part in zip(*pair)) for pair in zip(*chunks)]
            solutions = solver.finish(parts, options.with_gradient)
        sigma = torch.stack([solution.sigma / n for solution, n in zip(solutions, options.divisors)])
        return sigma, *(vectors for solution in solutions if solution.factors for vectors in solution.factors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save the gradient factors and the layout of the maps, but not the maps."""
        options, *tensors = inputs
        if options.with_gradient:
            factors = output[1:]
            ctx.mark_non_differentiable(*factors)
            ctx.save_for_backward(*factors, *tensors[len(tensors) // 2 :])
            ctx.options = options
            maps = zip(tensors[: len(tensors) // 2], options.grids)
            ctx.layouts = [_GradientLayout.from_feature(feature, grid) for feature, grid in maps]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """Write the gradient of each map once, as the sum of the outer products of its pairs."""
        options, saved = ctx.options, ctx.saved_tensors
        num_pairs = len(options.sizes)
        scales = [(row / n)[:, None, None] for row, n in zip(grad, options.divisors)]
        factors = [GradientFactors(*saved[4 * i : 4 * i + 4]) for i in range(num_pairs)]
        graph_anchors = saved[4 * num_pairs :]
        grads: list[Tensor | None] = [None] * (num_pairs + 1)
        with _exact_float32(grad.device.type), torch.no_grad():
            for index, layout in enumerate(ctx.layouts):
                if ctx.needs_input_grad[1 + index]:
                    grads[index] = layout.write(_gradient_terms(index, factors, scales, options.sizes))
        if torch.is_grad_enabled():
            # With `create_graph=True`, a second derivative must raise an error instead of being zero.
            grads = [
                None if g is None else _FirstDerivative.apply(g, anchor) for g, anchor in zip(grads, graph_anchors)
            ]
        return None, *grads, *(None for _ in graph_anchors)


def _pair_operators(options: _Options, maps: Sequence[Tensor], start: int) -> Iterator[PairOperator]:
    """Yield the pairs of a chunk one by one, so that the maps of the current pair are in the cache."""
    maps = [feature.to(options.dtype) for feature in maps]
    flattened: dict[tuple[int, Size | None], Tensor] = {}

    def flatten(index: int, size: Size | None) -> Tensor:
        if (index, size) not in flattened:
            flattened[index, size] = flatten_positions(maps[index], size, options.grids[index])
        return flattened[index, size]

    for pair, (size, materialize, weights) in enumerate(zip(options.sizes, options.plan.materialized, options.weights)):
        weights = None if weights is None else weights[start : start + len(maps[0])]
        yield PairOperator(flatten(pair, size), flatten(pair + 1, size), materialize, weights)
        # Only the second map of this pair is used again.
        for key in [key for key in flattened if key[0] <= pair]:
            del flattened[key]


# Vectors over the channels (B, R, C), vectors over the positions (B, R, N), and the grid of the positions.
_Term = tuple[Tensor, Tensor, Size | None]


def _gradient_terms(
    index: int, factors: Sequence[GradientFactors], scales: Sequence[Tensor], sizes: Sequence[Size | None]
) -> list[_Term]:
    """Return the terms of the gradient of a map: one as the second map of a pair, one as the first map of the next pair."""
    terms: list[_Term] = []
    if index > 0:
        pair = factors[index - 1]
        terms.append((pair.right * scales[index - 1], pair.left_at_positions, sizes[index - 1]))
    if index < len(factors):
        pair = factors[index]
        terms.append((pair.left * scales[index], pair.right_at_positions, sizes[index]))
    return terms


@dataclasses.dataclass(frozen=True)
class _GradientLayout:
    """Shape, grid, data type and memory format of a map, which is all that the backward pass needs of it."""

    shape: torch.Size
    grid: Grid | None
    dtype: torch.dtype
    channels_last: bool

    @classmethod
    def from_feature(cls, feature: Tensor, grid: Grid | None) -> '_GradientLayout':
        # Tokens (B, N, C) are stored like a channels-last map.
        channels_last = feature.dim() == 3 or (
            feature.is_contiguous(memory_format=torch.channels_last) and not feature.is_contiguous()
        )
        return cls(feature.shape, grid, feature.dtype, channels_last)

    def write(self, terms: Sequence[_Term]) -> Tensor:
        """Return the sum of the products of the terms, in the layout of the map."""
        over_channels = _cat([channels for channels, _, _ in terms], 1)
        over_positions = _cat([self._at_own_positions(values, size) for _, values, size in terms], 1)
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


def _cat(parts: Sequence[Tensor], dim: int) -> Tensor:
    return torch.cat(tuple(parts), dim) if len(parts) > 1 else parts[0]


class _FirstDerivative(torch.autograd.Function):
    """The identity on a gradient, which raises an error when it is differentiated."""

    @staticmethod
    def forward(grad: Tensor, graph_anchor: Tensor) -> Tensor:
        """Return the gradient; the graph anchor connects it with the map."""
        return grad.view_as(grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Any) -> tuple[Any, ...]:
        """Raise, because the second derivative would need all singular pairs."""
        raise RuntimeError(
            'transmitting_spectral_norm has no second derivative, only a first one: exclude it from the term that needs the second.'
        )


@contextlib.contextmanager
def _exact_float32(device_type: str) -> Iterator[None]:
    """Switch off autocast and the TF32 and bfloat16 products that a user may have allowed for convolutions."""
    backends: list[Any] = [
        backend
        for backend in (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, 'matmul', None))
        if hasattr(backend, 'fp32_precision')
    ]
    # Each backend is saved separately, because torch.get_float32_matmul_precision() raises an error where the backends
    # differ. Before torch 2.9 it is the only interface.
    precisions = [backend.fp32_precision for backend in backends]
    global_precision = None if backends else torch.get_float32_matmul_precision()
    try:
        for backend in backends:
            backend.fp32_precision = 'ieee'
        if global_precision is not None:
            torch.set_float32_matmul_precision('highest')
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, precisions):
            backend.fp32_precision = precision
        if global_precision is not None:
            torch.set_float32_matmul_precision(global_precision)
