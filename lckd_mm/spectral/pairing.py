"""The common grid on which the positions of two feature maps are compared."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .grids import Grid, UnknownGridError, resolve_grids
from .pooling import Size, average_pool


def pair_feature_maps(
    x: Tensor, y: Tensor, grids: Sequence[Sequence[int] | None] | None = None
) -> tuple[Tensor, Tensor]:
    """Pool two feature maps to a common grid and flatten their positions.

    The paper pools the first map to the size of the second where the first is larger. Here each axis is pooled to the
    smaller of the two sizes. This is identical for a backbone, where maps shrink, and also defined for every other pair.
    Tokens without a given grid are used without pooling, which needs equal numbers of positions. Tokens without a place
    in the grid, such as a class token, take part only where nothing is pooled.

    Args:
        x (Tensor): Map before the block, or tokens. Floating point.
        y (Tensor): Map after the block, or tokens. Floating point.
        grids (Sequence[Sequence[int] | None], optional): (h, w) of both, or (h, w, p) with p leading tokens without a
            place in the grid; None for maps, and for tokens that are not pooled. Defaults to None.

    Returns:
        tuple[Tensor, Tensor]: The two flattened maps; float64 if one of the inputs is, float32 otherwise. They are views of
        the inputs where neither pooling nor conversion is needed.

    Shape:
        - x: (B, C1, H1, W1), or (B, N1, C1) for tokens.
        - y: (B, C2, H2, W2), or (B, N2, C2) for tokens.
        - Output: (B, C1, N) and (B, C2, N).

    Raises:
        TypeError: An input is not a floating-point tensor.
        ValueError: An input has another number of dimensions or no elements, the batch sizes differ, a grid is not that of
            its map, or tokens whose grid is not given would have to be pooled.

    Source:
        Paper, section 3.2.

    Example:
        >>> f1, f2 = pair_feature_maps(torch.randn(2, 64, 56, 56), torch.randn(2, 128, 28, 28))
        >>> f1.shape, f2.shape
        (torch.Size([2, 64, 784]), torch.Size([2, 128, 784]))
    """
    grid_x, grid_y = resolve_grids((x, y), grids)
    size = common_size(x, y, grid_x, grid_y)
    dtype = working_dtype((x, y))
    return flatten_positions(x.to(dtype), size, grid_x), flatten_positions(y.to(dtype), size, grid_y)


def common_size(x: Tensor, y: Tensor, grid_x: Grid | None, grid_y: Grid | None) -> Size | None:
    """Return the common size (h, w) of a pair, or None if tokens are compared without pooling.

    Args:
        x (Tensor): As in :func:`pair_feature_maps`.
        y (Tensor): As in :func:`pair_feature_maps`.
        grid_x (Grid, optional): Grid of ``x``; None if it is unknown.
        grid_y (Grid, optional): Grid of ``y``; None if it is unknown.

    Returns:
        tuple[int, int] | None: The size.

    Raises:
        TypeError: As in :func:`pair_feature_maps`.
        ValueError: As in :func:`pair_feature_maps`.

    Example:
        >>> common_size(torch.randn(2, 64, 56, 28), torch.randn(2, 784, 128), Grid(56, 28), Grid(28, 28))
        (28, 28)
    """
    _check_feature('x', x)
    _check_feature('y', y)
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f'x has batch size {x.shape[0]} and y has batch size {y.shape[0]}, but both must be maps of the same images: pass maps of '
            'one forward pass.'
        )
    have_tokens, may_be_equal = 3 in (x.dim(), y.dim()), None in (grid_x, grid_y) or grid_x == grid_y
    if have_tokens and may_be_equal and num_positions(x) == num_positions(y):
        return None
    if grid_x is None or grid_y is None:
        raise UnknownGridError(
            f'{_describe(x)} and {_describe(y)} have to be pooled to a common size, but height and width of the tokens are not given: '
            'give them as `grids`, or tap two maps of the same size.'
        )
    return min(grid_x.height, grid_y.height), min(grid_x.width, grid_y.width)


def _describe(feature: Tensor) -> str:
    count = num_positions(feature)
    return f'{count} tokens' if feature.dim() == 3 else f'a map of {count} positions'


def _check_feature(name: str, feature: Tensor) -> None:
    if not isinstance(feature, Tensor) or not feature.is_floating_point():
        kind = feature.dtype if isinstance(feature, Tensor) else type(feature).__name__
        raise TypeError(
            f'{name} is {kind}, but a feature map must be a floating-point tensor: convert it, e.g. with `.float()`.'
        )
    if feature.dim() not in (3, 4):
        raise ValueError(
            f'{name} has shape {tuple(feature.shape)}, but a feature map must be (B, C, H, W), or (B, N, C) for tokens: tap a layer '
            'with such an output.'
        )
    if 0 in feature.shape[1:]:
        raise ValueError(
            f'{name} has shape {tuple(feature.shape)}, but a feature map must have at least one element per image: use larger images.'
        )


def working_dtype(features: Sequence[Tensor]) -> torch.dtype:
    """Return float64 if one of the maps is float64, and float32 otherwise.

    Half precision cannot represent the sums: 256 positions of activations near 300 already exceed the maximum of
    float16, 65504.

    Args:
        features (Sequence[Tensor]): Floating-point maps.

    Returns:
        torch.dtype: The data type of the computation.

    Example:
        >>> working_dtype([torch.ones(1, dtype=torch.float16)])
        torch.float32
    """
    return torch.float64 if any(feature.dtype == torch.float64 for feature in features) else torch.float32


def flatten_positions(feature: Tensor, size: Size | None, grid: Grid | None = None) -> Tensor:
    """Pool a map to the common size of its pair and flatten the positions.

    Args:
        feature (Tensor): Map or tokens.
        size (tuple[int, int], optional): Common size of the pair; None leaves the positions unpooled.
        grid (Grid, optional): Grid of the tokens. Needed only for tokens that are pooled.

    Returns:
        Tensor: The flattened map, a view where neither pooling nor a copy is needed.

    Shape:
        - feature: (B, C, H, W), or (B, N, C) for tokens.
        - Output: (B, C, h * w), or (B, C, N).

    Example:
        >>> tokens = torch.randn(2, 36, 64)
        >>> flatten_positions(tokens, (4, 3), Grid(4, 9)).shape, flatten_positions(tokens, None).shape
        (torch.Size([2, 64, 12]), torch.Size([2, 64, 36]))
    """
    if feature.dim() == 3:
        if size is None:
            return feature.transpose(1, 2)
        assert grid is not None  # `common_size` returns no size without the grids.
        feature = feature[:, grid.num_prefix :].transpose(1, 2).unflatten(2, grid.size)
    return (feature if size is None else average_pool(feature, size)).flatten(2)


def num_channels(feature: Tensor) -> int:
    """Return C of a map (B, C, H, W) or of tokens (B, N, C).

    Args:
        feature (Tensor): Map or tokens.

    Returns:
        int: The number of channels.

    Shape:
        - feature: (B, C, H, W), or (B, N, C) for tokens.

    Example:
        >>> num_channels(torch.randn(2, 64, 7, 7)), num_channels(torch.randn(2, 49, 64))
        (64, 64)
    """
    return feature.shape[1] if feature.dim() == 4 else feature.shape[2]


def num_positions(feature: Tensor) -> int:
    """Return H * W of a map (B, C, H, W), or N of tokens (B, N, C).

    Args:
        feature (Tensor): Map or tokens.

    Returns:
        int: The number of positions.

    Example:
        >>> num_positions(torch.randn(2, 64, 7, 7)), num_positions(torch.randn(2, 50, 64))
        (49, 50)
    """
    return feature.shape[1] if feature.dim() == 3 else feature.shape[2] * feature.shape[3]


def position_weights(valid_ratios: Tensor, size: Size, dtype: torch.dtype) -> Tensor:
    """Compute the share of each position's cell that lies inside the image.

    Args:
        valid_ratios (Tensor): Shares of height and width that the image fills, from the top left, in (0, 1].
        size (tuple[int, int]): (h, w) of the grid.
        dtype (torch.dtype): Data type of the result.

    Returns:
        Tensor: The weights: 1 inside, 0 outside, a fraction at the border.

    Shape:
        - valid_ratios: (B, 2).
        - Output: (B, 1, h * w).

    Example:
        >>> position_weights(torch.tensor([[1.0, 0.75]]), (1, 2), torch.float32)
        tensor([[[1.0000, 0.5000]]])
    """
    rows, columns = (
        (ratio.to(torch.float64)[:, None] * length - torch.arange(length, device=ratio.device)).clamp(0, 1)
        for ratio, length in zip(valid_ratios.unbind(1), size)
    )
    return (rows[:, :, None] * columns[:, None, :]).flatten(1)[:, None].to(dtype)


def pair_weights(
    valid_ratios: Tensor, size: Size | None, grids: Sequence[Grid | None], dtype: torch.dtype
) -> Tensor | None:
    """Compute the weights of the positions of a pair; tokens without a place in the grid have weight 1.

    Args:
        valid_ratios (Tensor): As in :func:`position_weights`.
        size (tuple[int, int], optional): Common size of the pair; None if it is not pooled.
        grids (Sequence[Grid | None]): Grids of both maps.
        dtype (torch.dtype): Data type of the result.

    Returns:
        Tensor | None: The weights; None, all 1, for tokens that are not pooled and whose grid is unknown.

    Shape:
        - valid_ratios: (B, 2).
        - Output: (B, 1, N).

    Example:
        >>> pair_weights(torch.tensor([[1.0, 0.75]]), None, (None, Grid(1, 2, 1)), torch.float32)
        tensor([[[1.0000, 1.0000, 0.5000]]])
    """
    if size is not None:
        return position_weights(valid_ratios, size, dtype)
    grid = next((grid for grid in grids if grid is not None), None)
    if grid is None:
        return None
    return F.pad(position_weights(valid_ratios, grid.size, dtype), (grid.num_prefix, 0), value=1.0)


def check_valid_ratios(valid_ratios: Tensor, batch_size: int) -> None:
    """Check type and shape; the values are not read, because on a GPU that would synchronize with the host.

    Args:
        valid_ratios (Tensor): Shares of height and width of each image, (B, 2).
        batch_size (int): B of the maps.

    Raises:
        TypeError: ``valid_ratios`` is not a floating-point tensor.
        ValueError: The shape is not (B, 2).
    """
    if not isinstance(valid_ratios, Tensor) or not valid_ratios.is_floating_point():
        kind = valid_ratios.dtype if isinstance(valid_ratios, Tensor) else type(valid_ratios).__name__
        raise TypeError(
            f'valid_ratios is {kind}, but must be a floating-point tensor: pass shares of height and width in (0, 1].'
        )
    if tuple(valid_ratios.shape) != (batch_size, 2):
        raise ValueError(
            f'valid_ratios has shape {tuple(valid_ratios.shape)}, but must be {(batch_size, 2)} for a batch of {batch_size} images: pass '
            'the shares of height and width of each image.'
        )
