from .algorithms import LipschitzDistill
from .backbones import CIFARResNet, MobileNetV1, PyramidNet, StagedBackbone
from .connectors import PointwiseAdapter, SpectralNormConnector
from .distillers import LipschitzDistiller
from .losses import LipschitzLoss
from .task_modules import PreActivationRecorder

__all__ = [
    'CIFARResNet',
    'LipschitzDistill',
    'LipschitzDistiller',
    'LipschitzLoss',
    'MobileNetV1',
    'PointwiseAdapter',
    'PreActivationRecorder',
    'PyramidNet',
    'SpectralNormConnector',
    'StagedBackbone',
]
