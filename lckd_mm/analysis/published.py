"""The published computation of the spectral norm, transcribed from the paper for measurements."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pool_to_common_size(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Pool the larger map to the size of the smaller one.

    Args:
        x (Tensor): Map before the block.
        y (Tensor): Map after the block.

    Returns:
        tuple[Tensor, Tensor]: Both maps at the smaller height and width.

    Shape:
        - x: (B, C1, H1, W1).
        - y: (B, C2, H2, W2).
        - Output: (B, C1, H, W) and (B, C2, H, W).

    Example:
        >>> [tuple(f.shape) for f in pool_to_common_size(torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4))]
        [(2, 3, 4, 4), (2, 5, 4, 4)]
    """
    size = (min(x.shape[2], y.shape[2]), min(x.shape[3], y.shape[3]))
    return _pool(x, size), _pool(y, size)


def _pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size)


def published_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Compute the transmitting matrix.

    Args:
        x (Tensor): Map before the block.
        y (Tensor): Map after the block.

    Returns:
        Tensor: The matrices.

    Shape:
        - x: (B, C1, H1, W1).
        - y: (B, C2, H2, W2).
        - Output: (B, C1, C2).

    Source:
        Paper, section 3.2.

    Example:
        >>> published_matrix(torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4)).shape
        torch.Size([2, 3, 5])
    """
    front, latter = (f.flatten(2) for f in pool_to_common_size(x, y))
    return torch.bmm(front, latter.transpose(1, 2)) / front.shape[2]


def published_spectral_norm(x: Tensor, y: Tensor, num_iters: int = 5) -> Tensor:
    """Compute the spectral norm as the authors do.

    The matrix TM is computed twice and squared. The power iteration on TM TM^T starts from the vector of ones, and autograd
    differentiates through all iterations.

    Args:
        x (Tensor): Map before the block.
        y (Tensor): Map after the block.
        num_iters (int): Number of power iterations. Defaults to 5.

    Returns:
        Tensor: The norms.

    Shape:
        - x: (B, C1, H1, W1).
        - y: (B, C2, H2, W2).
        - Output: (B,).

    Source:
        Paper, section 3.2.

    Example:
        >>> x = torch.ones(1, 1, 2, 2)
        >>> published_spectral_norm(2 * x, 3 * x)
        tensor([6.])
    """
    square = torch.bmm(published_matrix(x, y), published_matrix(x, y).transpose(1, 2))
    vector = square.new_ones(*square.shape[:2], 1)
    eigenvalue = vector.norm(dim=1)
    for _ in range(num_iters):
        product = torch.bmm(square, vector)
        eigenvalue = product.norm(dim=1) / vector.norm(dim=1)
        vector = product / product.norm(dim=1, keepdim=True)
    return eigenvalue.squeeze(1).sqrt()
