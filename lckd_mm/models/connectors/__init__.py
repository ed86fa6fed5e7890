from .margin_connector import MarginConnector
from .pointwise_adapter import PointwiseAdapter
from .spectral_norm_connector import SpectralNormConnector

__all__ = ['MarginConnector', 'PointwiseAdapter', 'SpectralNormConnector']
