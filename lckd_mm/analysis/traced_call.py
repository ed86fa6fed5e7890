"""The calls of modules in a traced forward pass, and which of their tensors are feature maps."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from lckd_mm.models.distillers.probe_inputs import Size
from lckd_mm.spectral import Grid

# A map without padding at its border is smaller than the image over its stride: 35 instead of 38 pixels in Inception.
_SIZE_TOLERANCE = 0.2

# Module, call and index in the output.
Key = tuple[str, int, int | None]


@dataclass(eq=False)
class FeatureMap:
    """A feature map in a traced forward pass.

    Attributes:
        tensor: (B, C, H, W), or (B, N, C) for tokens.
        grid: Height and width.
        stride: Size of the image over size of the map, in pixels.
        data_idx: Index in the output of its module; None if that is one tensor.
        node: Node of the autograd graph that computed the map.
    """

    tensor: Tensor
    grid: Grid
    stride: int
    data_idx: int | None = None
    node: Any = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.tensor.shape[1 if self.tensor.dim() == 4 else 2]


@dataclass(eq=False)
class Call:
    """A call of a module.

    Attributes:
        name: Name of the module, as in ``model.named_modules()``.
        module: The module.
        record_idx: How often the module was called before in this forward pass.
        arguments: Tensors among its arguments.
        outputs: Tensors that it returns, with index in the output and node of the autograd graph.
        inputs: Feature maps among its arguments.
        maps: Feature maps among its outputs.
        has_returned: Whether it has returned, and not raised an error.
        unknown: Whether it returns tokens whose height and width are not determined.
        children: Calls within this call.
    """

    name: str
    module: nn.Module
    record_idx: int
    arguments: list[Tensor] = field(default_factory=list)
    outputs: list[tuple[int | None, Tensor, Any]] = field(default_factory=list)
    inputs: list[FeatureMap] = field(default_factory=list)
    maps: list[FeatureMap] = field(default_factory=list)
    has_returned: bool = False
    unknown: bool = False
    children: list['Call'] = field(default_factory=list)

    def walk(self) -> Iterator['Call']:
        """Yield the call and all calls within it, in the order in which they begin."""
        yield self
        for child in self.children:
            yield from child.walk()


def find_maps(root: Call, size: Size, grids: Mapping[Key, Grid | None]) -> None:
    """Determine which tensors of a traced forward pass are feature maps.

    Args:
        root (Call): The forward pass, to which the maps are added.
        size (tuple[int, int]): Height and width of the image in pixels.
        grids (Mapping[Key, Grid | None]): Height and width of the tokens.
    """
    known: dict[int, Grid | None] = {}
    for call in root.walk():
        for index, tensor, _ in call.outputs:
            if is_tokens(tensor):
                known[id(tensor)] = known.get(id(tensor)) or grids[call.name, call.record_idx, index]
    strides: dict[int, int] = {}
    for call in _in_order_of_return(root):
        call.inputs = [
            feature
            for tensor in call.arguments
            if (feature := _feature_map(tensor, known, size, strides.get(id(tensor)))) is not None
        ]
        call.maps, call.unknown = [], False
        for index, tensor, node in call.outputs:
            stride = strides.get(id(tensor)) or _relative_stride(call, tensor, known)
            feature = _feature_map(tensor, known, size, stride, index, node)
            call.unknown |= feature is None and is_tokens(tensor)
            if feature is not None:
                strides[id(tensor)] = feature.stride
                call.maps.append(feature)


def _in_order_of_return(call: Call) -> Iterator[Call]:
    for child in call.children:
        yield from _in_order_of_return(child)
    yield call


def _relative_stride(call: Call, tensor: Tensor, token_grids: dict[int, Grid | None]) -> int | None:
    """Return the stride of an output by that of the argument with the nearest size.

    A map can be one position longer than the image over its stride, 9 instead of 8 positions. Relative to its argument of 17 positions
    this rounds to 2, relative to an image of 128 pixels to 14.
    """
    grid = _grid(tensor, token_grids)
    if grid is None or min(grid.size) < 1:
        return None
    steps = [
        (steps.pop(), feature.stride)
        for feature in call.inputs
        if len(steps := {round(length / positions) for length, positions in zip(feature.grid.size, grid.size)}) == 1
    ]
    # A larger map than all arguments has been upsampled.
    return math.prod(min(steps, default=(0, 0))) or None


def is_tokens(tensor: Tensor) -> bool:
    """Return whether a tensor may be the tokens of one image."""
    # The tokens of windows are no rows of one image: their batch is larger.
    return tensor.dim() == 3 and len(tensor) == 1 and tensor.is_floating_point()


def _grid(tensor: Tensor, token_grids: dict[int, Grid | None]) -> Grid | None:
    if tensor.dim() == 4 and len(tensor) == 1 and tensor.is_floating_point():
        return Grid(tensor.shape[2], tensor.shape[3])
    return token_grids.get(id(tensor))


def _feature_map(
    tensor: Tensor,
    token_grids: dict[int, Grid | None],
    size: Size,
    stride: int | None,
    index: int | None = None,
    node: Any = None,
) -> FeatureMap | None:
    """Return a tensor with its grid and its stride, which is measured if the given one does not fit; None if it is no feature map."""
    grid = _grid(tensor, token_grids)
    if grid is None or min(grid.size) < 1 or grid.size == (1, 1):
        return None
    measured = {max(1, round(length / positions)) for length, positions in zip(size, grid.size)}
    candidates = [stride] if stride is not None else []
    candidates += measured if len(measured) == 1 else []
    return next(
        (FeatureMap(tensor, grid, candidate, index, node) for candidate in candidates if _fits(candidate, grid, size)),
        None,
    )


def _fits(stride: int, grid: Grid, size: Size) -> bool:
    """Return whether a map covers the image with a stride, the same along both axes."""
    return all(
        math.isclose(positions * stride, length, rel_tol=_SIZE_TOLERANCE, abs_tol=stride)
        for length, positions in zip(size, grid.size)
    )
