"""Spectral norms of transmitting matrices in pure PyTorch; the package can be used without OpenMMLab.

Example:
    >>> import torch
    >>> from lckd_mm.spectral import transmitting_spectral_norm
    >>> before, after = torch.randn(8, 64, 56, 56), torch.randn(8, 128, 28, 28)
    >>> transmitting_spectral_norm(before, after).shape
    torch.Size([8])
"""

from .functional import (
    METHODS,
    check_method,
    check_num_iters,
    spectral_norms_of_networks,
    transmitting_matrix,
    transmitting_spectral_norm,
    transmitting_spectral_norms,
)
from .grids import Grid, UnknownGridError
from .pairing import num_channels, pair_feature_maps

__all__ = [
    'METHODS',
    'Grid',
    'UnknownGridError',
    'check_method',
    'check_num_iters',
    'num_channels',
    'pair_feature_maps',
    'spectral_norms_of_networks',
    'transmitting_matrix',
    'transmitting_spectral_norm',
    'transmitting_spectral_norms',
]
