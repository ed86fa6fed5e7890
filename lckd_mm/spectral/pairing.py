"""The common grid on which the positions of two feature maps are compared."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .pooling import Size, average_pool


def pair_feature_maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Pool two feature maps to a common grid and flatten their positions.

    The paper pools the first map to the size of the second where the first is larger. Here each axis is pooled to the
    smaller of the two sizes. This is identical for a backbone, where maps shrink, and also defined for every other pair.
    Token maps have no grid. They are used without pooling where the numbers of positions agree; otherwise they are
    arranged as a square and pooled.

    Args:
        x (Tensor): Map before the block, or tokens. Floating point.
        y (Tensor): Map after the block, or tokens. Floating point.

    Returns:
        tuple[Tensor, Tensor]: The two flattened maps; float64 if one of the inputs is, float32 otherwise. They are views of
        the inputs where neither pooling nor conversion is needed.

    Shape:
        - x: (B, C1, H1, W1), or (B, N1, C1) for tokens.
        - y: (B, C2, H2, W2), or (B, N2, C2) for tokens.
        - Output: (B, C1, N) and (B, C2, N).

    Raises:
        TypeError: An input is not a floating-point tensor.
        ValueError: An input has another number of dimensions or no elements, the batch sizes differ, or the numbers of
            tokens fit no common grid.

    Source:
        Paper, section 3.2.

    Example:
        >>> f1, f2 = pair_feature_maps(torch.randn(2, 64, 56, 56), torch.randn(2, 128, 28, 28))
        >>> f1.shape, f2.shape
        (torch.Size([2, 64, 784]), torch.Size([2, 128, 784]))
    """
    size = common_size(x, y)
    dtype = working_dtype((x, y))
    return flatten_positions(x.to(dtype), size), flatten_positions(y.to(dtype), size)


def common_size(x: Tensor, y: Tensor) -> Size | None:
    """Return the grid (h, w) of a pair, or None if tokens are compared without pooling.

    Args:
        x (Tensor): As in :func:`pair_feature_maps`.
        y (Tensor): As in :func:`pair_feature_maps`.

    Returns:
        tuple[int, int] | None: The grid.

    Raises:
        TypeError: As in :func:`pair_feature_maps`.
        ValueError: As in :func:`pair_feature_maps`.

    Example:
        >>> common_size(torch.randn(2, 64, 56, 28), torch.randn(2, 128, 28, 28))
        (28, 28)
    """
    _check_feature('x', x)
    _check_feature('y', y)
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f'x has batch size {x.shape[0]} and y has batch size {y.shape[0]}, but both must be maps of the same images: pass maps of '
            'one forward pass.'
        )
    if (x.dim() == 3 or y.dim() == 3) and num_positions(x) == num_positions(y):
        return None
    _check_square(x, y)
    _check_square(y, x)
    (height_x, width_x), (height_y, width_y) = grid_size(x.shape), grid_size(y.shape)
    return min(height_x, height_y), min(width_x, width_y)


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


def _check_square(feature: Tensor, other: Tensor) -> None:
    if feature.dim() == 3 and math.isqrt(feature.shape[1]) ** 2 != feature.shape[1]:
        raise ValueError(
            f'{feature.shape[1]} tokens and a map of {num_positions(other)} positions cannot be paired, because the numbers differ and '
            f'{feature.shape[1]} is not a square: drop the class token, or tap two maps of the same size.'
        )


def grid_size(shape: Sequence[int]) -> Size:
    """Return (H, W) of a map of this shape; tokens are arranged as a square, which :func:`common_size` has checked.

    Args:
        shape (Sequence[int]): (B, C, H, W), or (B, N, C) for tokens, with N a square.

    Returns:
        tuple[int, int]: The grid.

    Example:
        >>> grid_size((2, 64, 56, 28)), grid_size((2, 49, 64))
        ((56, 28), (7, 7))
    """
    if len(shape) == 4:
        return shape[2], shape[3]
    side = math.isqrt(shape[1])
    return side, side


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


def flatten_positions(feature: Tensor, size: Size | None) -> Tensor:
    """Pool a map to the grid of its pair and flatten the positions.

    Args:
        feature (Tensor): Map or tokens.
        size (tuple[int, int], optional): Grid of the pair; None leaves the positions unpooled.

    Returns:
        Tensor: The flattened map, a view where neither pooling nor a copy is needed.

    Shape:
        - feature: (B, C, H, W), or (B, N, C) for tokens.
        - Output: (B, C, h * w), or (B, C, N).

    Example:
        >>> flatten_positions(torch.randn(2, 64, 8, 8), (4, 4)).shape, flatten_positions(torch.randn(2, 49, 64), None).shape
        (torch.Size([2, 64, 16]), torch.Size([2, 64, 49]))
    """
    if feature.dim() == 3:
        if size is None:
            return feature.transpose(1, 2)
        feature = feature.transpose(1, 2).unflatten(2, grid_size(feature.shape))
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
