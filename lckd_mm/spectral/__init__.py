"""Spectral norms of transmitting matrices: pure PyTorch, usable without OpenMMLab.

Examples:
    >>> import torch
    >>> from lckd_mm.spectral import transmitting_spectral_norm
    >>> before, after = torch.randn(8, 64, 56, 56), torch.randn(8, 128, 28, 28)
    >>> transmitting_spectral_norm(before, after).shape
    torch.Size([8])
"""

from .pairing import pair_feature_maps
from .spectral_norm import METHODS, check_method, check_n_iters, transmitting_spectral_norm, transmitting_spectral_norms
from .transmitting_matrix import transmitting_matrix

__all__ = [
    'METHODS',
    'check_method',
    'check_n_iters',
    'pair_feature_maps',
    'transmitting_matrix',
    'transmitting_spectral_norm',
    'transmitting_spectral_norms',
]
