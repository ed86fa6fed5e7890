"""An independent transcription of the published algorithm: a materialized matrix, and autograd through the iterations."""

import torch
import torch.nn.functional as F
from torch import Tensor


def published_transmitting_matrix(front: Tensor, latter: Tensor) -> Tensor:
    """Return the matrices (B, C1, C2) of (B, C1, H1, W1) and (B, C2, H2, W2); the first map is pooled if it is larger."""
    if front.shape[2] > latter.shape[2]:
        front = F.adaptive_avg_pool2d(front, latter.shape[2:])
    batch, c1, height, width = front.shape
    return torch.einsum('bin,bjn->bij', front.reshape(batch, c1, -1), latter.reshape(batch, latter.shape[1], -1)) / (
        height * width
    )


def published_spectral_norm(front: Tensor, latter: Tensor, num_iters: int, start: Tensor) -> Tensor:
    """Return the square root of the largest eigenvalue of TM TM^T, (B,), by power iteration from ``start`` (C1,)."""
    matrix = published_transmitting_matrix(front, latter)
    square = torch.einsum('bij,bkj->bik', matrix, matrix)
    vector = start.expand(square.shape[0], -1)
    for _ in range(num_iters):
        product = torch.einsum('bij,bj->bi', square, vector)
        eigenvalue = product.square().sum(1).sqrt() / vector.square().sum(1).sqrt()
        vector = product / product.square().sum(1, keepdim=True).sqrt()
    return eigenvalue.sqrt()
