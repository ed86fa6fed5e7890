from .algorithms import LipschitzDistill
from .connectors import PointwiseAdapter, SpectralNormConnector
from .distillers import LipschitzDistiller
from .losses import LipschitzLoss
from .task_modules import PreActivationRecorder

__all__ = [
    'LipschitzDistill',
    'LipschitzDistiller',
    'LipschitzLoss',
    'PointwiseAdapter',
    'PreActivationRecorder',
    'SpectralNormConnector',
]
