"""The differentiable computation of the spectral norms, with their gradient in closed form (paper, section 3.2)."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .gradient_layout import GradientLayout, concatenate, gradient_terms
from .grids import Grid
from .joint_lanczos import joint_lanczos
from .operator import PairOperator
from .pairing import flatten_positions, num_channels, num_positions, pair_weights, working_dtype
from .planning import Plan, forced_plan, make_plan
from .pooling import Size
from .precision import exact_float32
from .solvers import SOLVERS, GradientFactors, Solution


@dataclasses.dataclass(frozen=True)
class Network:
    """The maps of a network whose blocks are measured; they are already checked.

    Attributes:
        features (Sequence[Tensor]): K maps of at least one image, (B, C, H, W), or (B, N, C) for tokens.
        grids (Sequence[Grid | None]): Grid of each map; None for tokens that are not pooled.
        sizes (Sequence[tuple[int, int] | None]): Common size of each pair; None for tokens that are not pooled.
    """

    features: Sequence[Tensor]
    grids: Sequence[Grid | None]
    sizes: Sequence[Size | None]

    @property
    def counts(self) -> list[int]:
        """N of each pair."""
        pairs = zip(self.features[1:], self.sizes)
        return [num_positions(y) if size is None else size[0] * size[1] for y, size in pairs]

    @property
    def needs_gradient(self) -> bool:
        """Whether a backward pass may follow."""
        return torch.is_grad_enabled() and any(feature.requires_grad for feature in self.features)


def spectral_norms(
    networks: Sequence[Network], method: str, num_iters: int, valid_ratios: Tensor | None
) -> list[Tensor]:
    """Compute the spectral norms between consecutive maps of networks; the arguments are already checked.

    Networks with the same number of images, the same device and the same data type are computed together.

    Args:
        networks (Sequence[Network]): The networks.
        method (str): Name of the solver.
        num_iters (int): Number of products with the matrix and with its transpose.
        valid_ratios (Tensor, optional): Shares of height and width that each image fills, (B, 2); None means no padding.

    Returns:
        list[Tensor]: The spectral norms of each network, (K - 1, B).

    Example:
        >>> maps = torch.ones(2, 3, 4, 4), torch.ones(2, 5, 2, 2)
        >>> spectral_norms([Network(maps, [Grid(4, 4), Grid(2, 2)], [(2, 2)])], 'svd', 1, None)
        [tensor([[3.8730, 3.8730]])]
    """
    groups: dict[tuple[int, torch.device, torch.dtype], list[int]] = {}
    for index, network in enumerate(networks):
        first = network.features[0]
        groups.setdefault((len(first), first.device, working_dtype(network.features)), []).append(index)
    norms: dict[int, Tensor] = {}
    for (_, _, dtype), indices in groups.items():
        # The networks with a gradient come first.
        indices.sort(key=lambda index: not networks[index].needs_gradient)
        parts = [_make_part(networks[index], method, num_iters, valid_ratios, dtype) for index in indices]
        features = [feature for index in indices for feature in networks[index].features]
        # Empty slices keep the maps in the graph, so that a second derivative raises an error, without keeping their memory.
        anchors = [
            feature[:0].clone() if part.with_gradient else None
            for index, part in zip(indices, parts)
            for feature in networks[index].features
        ]
        outputs = _SpectralNorms.apply(_Options(method, num_iters, dtype, tuple(parts)), *features, *anchors)
        norms |= dict(zip(indices, outputs))
    return [norms[index] for index in range(len(networks))]


@dataclasses.dataclass(frozen=True)
class _Part:
    """What is known of a network besides its maps.

    Attributes:
        grids: Grid of each map; None for tokens that are not pooled.
        sizes: Common size of each pair; None for tokens that are not pooled.
        weights: Weights of the positions of each pair, (B, 1, N); None means all 1.
        divisors: N of each pair and image: (K - 1, 1) or (K - 1, B).
        plan: Formulation.
        with_gradient: Whether the backward pass may follow.
    """

    grids: tuple[Grid | None, ...]
    sizes: tuple[Size | None, ...]
    weights: tuple[Tensor | None, ...]
    divisors: Tensor
    plan: Plan
    with_gradient: bool


@dataclasses.dataclass(frozen=True)
class _Options:
    """All arguments without a gradient.

    Attributes:
        method: Name of the solver.
        num_iters: Number of products with the matrix and with its transpose.
        dtype: Data type of the computation.
        parts: The networks, those with a gradient first.
    """

    method: str
    num_iters: int
    dtype: torch.dtype
    parts: tuple[_Part, ...]

    def split(self, items: Sequence[Any]) -> Iterator[tuple[_Part, Sequence[Any]]]:
        """Yield each network with its items of a sequence that has one item per map."""
        start = 0
        for part in self.parts:
            yield part, items[start : start + len(part.grids)]
            start += len(part.grids)


def _make_part(network: Network, method: str, num_iters: int, valid_ratios: Tensor | None, dtype: torch.dtype) -> _Part:
    channels = [num_channels(feature) for feature in network.features]
    counts, device = network.counts, network.features[0].device
    pairs = tuple(zip(channels, channels[1:], counts))
    num_images, element_size = len(network.features[0]), torch.finfo(dtype).bits // 8
    plan = forced_plan() or make_plan(pairs, num_images, method, num_iters, element_size, device.type)
    weights: list[Tensor | None] = [None] * len(counts)
    if valid_ratios is not None:
        ratios = valid_ratios.to(device)
        weights = [pair_weights(ratios, size, network.grids[i : i + 2], dtype) for i, size in enumerate(network.sizes)]
    divisors = _numbers(tuple(counts), dtype, device)
    if any(w is not None for w in weights):
        divisors = torch.stack(
            [n.expand(num_images) if w is None else w.sum((1, 2)) for n, w in zip(divisors, weights)]
        )
    return _Part(tuple(network.grids), tuple(network.sizes), tuple(weights), divisors, plan, network.needs_gradient)


@functools.lru_cache(maxsize=64)
def _numbers(numbers: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a column of numbers; copying them to a GPU at every call would take longer than dividing by them."""
    return torch.tensor(numbers, dtype=dtype, device=device)[:, None]


class _SpectralNorms(torch.autograd.Function):
    """Map the maps of all networks and as many graph anchors to the norms of each network and the gradient factors of the pairs."""

    @staticmethod
    def forward(options: _Options, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Solve all pairs."""
        features = inputs[: len(inputs) // 2]
        with exact_float32(features[0].device.type):
            if all(part.plan.joint for part in options.parts):
                solutions = _solve_jointly(options, features)
            else:
                solutions = _solve_in_chunks(options, features)
        norms, start = [], 0
        for part in options.parts:
            end = start + len(part.sizes)
            norms.append(torch.stack([solution.sigma for solution in solutions[start:end]]) / part.divisors)
            start = end
        return *norms, *(vectors for solution in solutions if solution.factors for vectors in solution.factors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save the gradient factors and the layout of the maps, but not the maps."""
        options, *tensors = inputs
        num_maps = len(tensors) // 2
        factors = output[len(options.parts) :]
        ctx.mark_non_differentiable(
            *(norms for part, norms in zip(options.parts, output) if not part.with_gradient), *factors
        )
        ctx.set_materialize_grads(False)
        ctx.options = options
        ctx.num_factors = len(factors)
        ctx.save_for_backward(*factors, *tensors[num_maps:])
        ctx.layouts = [
            GradientLayout.from_feature(feature, grid) if part.with_gradient else None
            for part, maps in options.split(tensors[:num_maps])
            for feature, grid in zip(maps, part.grids)
        ]

    @staticmethod
    def backward(ctx: Any, *grads_of_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        """Write the gradient of each map once, as the sum of the outer products of its pairs."""
        options, saved = ctx.options, ctx.saved_tensors
        factors = [GradientFactors(*saved[i : i + 4]) for i in range(0, ctx.num_factors, 4)]
        graph_anchors = saved[ctx.num_factors :]
        grads: list[Tensor | None] = []
        for (part, layouts), grad in zip(options.split(ctx.layouts), grads_of_outputs):
            if not part.with_gradient:
                grads += [None] * len(layouts)
                continue
            pairs, factors = factors[: len(part.sizes)], factors[len(part.sizes) :]
            if grad is None:
                # No loss has used the norms of this network.
                grads += [None] * len(layouts)
                continue
            with exact_float32(grad.device.type), torch.no_grad():
                scales = (grad / part.divisors)[:, :, None, None].unbind()
                for index, layout in enumerate(layouts):
                    needed = ctx.needs_input_grad[1 + len(grads)]
                    terms = gradient_terms(index, pairs, scales, part.sizes) if needed else ()
                    grads.append(layout.write(terms) if needed else None)
        if torch.is_grad_enabled():
            # With `create_graph=True`, a second derivative must raise an error instead of being zero.
            grads = [
                None if g is None else _FirstDerivative.apply(g, anchor) for g, anchor in zip(grads, graph_anchors)
            ]
        return None, *grads, *(None for _ in graph_anchors)


def _solve_jointly(options: _Options, features: Sequence[Tensor]) -> list[Solution]:
    operators: list[PairOperator] = []
    num_with_gradient = 0
    for part, maps in options.split(features):
        operators += _pair_operators(part, maps, options.dtype, 0)
        num_with_gradient += len(part.sizes) * part.with_gradient
    return joint_lanczos(operators, options.num_iters, num_with_gradient)


def _solve_in_chunks(options: _Options, features: Sequence[Tensor]) -> list[Solution]:
    """Solve chunk by chunk, then finish all pairs together."""
    solver = SOLVERS[options.method]
    parts = []
    for part, maps in options.split(features):
        chunk_size = part.plan.images_per_chunk
        chunks = []
        for start in range(0, len(maps[0]), chunk_size):
            chunk = [feature[start : start + chunk_size] for feature in maps]
            operators = _pair_operators(part, chunk, options.dtype, start)
            chunks.append([solver.start(operator, options.num_iters, part.with_gradient) for operator in operators])
        # For each pair, the tensors of all chunks are concatenated along their first dimension, the batch.
        parts += [tuple(concatenate(tensors, 0) for tensors in zip(*pair)) for pair in zip(*chunks)]
    return solver.finish(parts)


def _pair_operators(part: _Part, maps: Sequence[Tensor], dtype: torch.dtype, start: int) -> Iterator[PairOperator]:
    """Yield the pairs of a chunk one by one, so that the maps of the current pair are in the cache."""
    converted: dict[int, Tensor] = {}
    flattened: dict[tuple[int, Size | None], Tensor] = {}

    def flatten(index: int, size: Size | None) -> Tensor:
        if (index, size) not in flattened:
            if index not in converted:
                converted[index] = maps[index].to(dtype)
            flattened[index, size] = flatten_positions(converted[index], size, part.grids[index])
        return flattened[index, size]

    for pair, (size, materialize, weights) in enumerate(zip(part.sizes, part.plan.materialized, part.weights)):
        weights = None if weights is None else weights[start : start + len(maps[0])]
        yield PairOperator(flatten(pair, size), flatten(pair + 1, size), materialize, weights)
        # Only the second map of this pair is used again. What is pooled needs no converted copy of the whole map.
        converted.pop(pair, None)
        for key in [key for key in flattened if key[0] <= pair]:
            del flattened[key]


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
