"""An independent transcription of the published algorithm: the formed matrix, autograd through the iterations."""

import torch
import torch.nn.functional as F
from torch import Tensor


def published_transmitting_matrix(front: Tensor, latter: Tensor) -> Tensor:
    """(B, C1, H1, W1) and (B, C2, H2, W2) to (B, C1, C2), the larger map pooled to the smaller one's size."""
    if front.shape[2] > latter.shape[2]:
        front = F.adaptive_avg_pool2d(front, latter.shape[2:])
    batch, c1, height, width = front.shape
    return torch.einsum('bin,bjn->bij', front.reshape(batch, c1, -1), latter.reshape(batch, latter.shape[1], -1)) / (
        height * width
    )


def published_spectral_norm(front: Tensor, latter: Tensor, n_iters: int, start: Tensor) -> Tensor:
    """sqrt of the dominant eigenvalue of TM TM^T by power iteration from ``start`` (C1,), shape (B,)."""
    matrix = published_transmitting_matrix(front, latter)
    square = torch.einsum('bij,bkj->bik', matrix, matrix)
    vector = start.expand(square.shape[0], -1)
    for _ in range(n_iters):
        product = torch.einsum('bij,bj->bi', square, vector)
        eigenvalue = product.square().sum(1).sqrt() / vector.square().sum(1).sqrt()
        vector = product / product.square().sum(1, keepdim=True).sqrt()
    return eigenvalue.sqrt()
