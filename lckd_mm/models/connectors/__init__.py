from .pointwise_adapter import PointwiseAdapter
from .spectral_norm_connector import SpectralNormConnector

__all__ = ['PointwiseAdapter', 'SpectralNormConnector']
