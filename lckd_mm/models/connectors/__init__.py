from .channel_norm_connector import ChannelNormConnector
from .global_pool_connector import GlobalPoolConnector
from .margin_connector import MarginConnector
from .pointwise_adapter import PointwiseAdapter
from .score_rows_connector import ScoreRowsConnector
from .spectral_norm_connector import SpectralNormConnector
from .tapwise_connector import TapwiseConnector

__all__ = [
    'ChannelNormConnector',
    'GlobalPoolConnector',
    'MarginConnector',
    'PointwiseAdapter',
    'ScoreRowsConnector',
    'SpectralNormConnector',
    'TapwiseConnector',
]
