from .algorithms import LipschitzDistill
from .backbones import CIFARResNet, MobileNetV1, PyramidNet, StagedBackbone
from .connectors import MarginConnector, PointwiseAdapter, SpectralNormConnector
from .distillers import LipschitzDistiller
from .losses import LipschitzLoss, OverhaulLoss
from .task_modules import PreActivationRecorder

__all__ = [
    'CIFARResNet',
    'LipschitzDistill',
    'LipschitzDistiller',
    'LipschitzLoss',
    'MarginConnector',
    'MobileNetV1',
    'OverhaulLoss',
    'PointwiseAdapter',
    'PreActivationRecorder',
    'PyramidNet',
    'SpectralNormConnector',
    'StagedBackbone',
]
