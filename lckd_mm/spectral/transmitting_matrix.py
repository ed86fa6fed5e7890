"""The transmitting matrix, the surrogate of a block's linear map (paper, section 3.2)."""

import torch
from torch import Tensor

from .pairing import pair_feature_maps


def transmitting_matrix(x: Tensor, y: Tensor) -> Tensor:
    r"""Transmitting matrix :math:`F_1 F_2^\top / N` of two consecutive feature maps, one per image.

    Args:
        x (Tensor): Map before the block, (B, C1, H1, W1), or tokens (B, N1, C1).
        y (Tensor): Map after the block, (B, C2, H2, W2), or tokens (B, N2, C2).

    Returns:
        Tensor: (B, C1, C2), float64 if one of the inputs is, float32 otherwise, also under autocast. Differentiable in
        both arguments.

    Raises:
        TypeError: An input is not a floating point tensor.
        ValueError: The maps cannot be paired, see :func:`pair_feature_maps`.

    Examples:
        >>> transmitting_matrix(torch.randn(2, 64, 56, 56), torch.randn(2, 128, 28, 28)).shape
        torch.Size([2, 64, 128])
    """
    device_type = x.device.type if isinstance(x, Tensor) else 'cpu'
    with torch.autocast(device_type, enabled=False):
        f1, f2 = pair_feature_maps(x, y)
        return f1 @ f2.transpose(1, 2) / f1.shape[2]
