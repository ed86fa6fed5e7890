from .algorithms import LipschitzDistill
from .backbones import CIFARResNet, EfficientNetLite, MobileNetV1, PyramidNet, StagedBackbone
from .connectors import (
    ChannelNormConnector,
    GlobalPoolConnector,
    MarginConnector,
    PointwiseAdapter,
    ScoreRowsConnector,
    SpectralNormConnector,
    TapwiseConnector,
)
from .distillers import LipschitzDistiller
from .losses import DecoupledLoss, LipschitzLoss, OverhaulLoss, TapwiseLoss
from .recorders import LabelsRecorder, LogitsRecorder, PreActivationRecorder

__all__ = [
    'CIFARResNet',
    'ChannelNormConnector',
    'DecoupledLoss',
    'EfficientNetLite',
    'GlobalPoolConnector',
    'LabelsRecorder',
    'LipschitzDistill',
    'LipschitzDistiller',
    'LipschitzLoss',
    'LogitsRecorder',
    'MarginConnector',
    'MobileNetV1',
    'OverhaulLoss',
    'PointwiseAdapter',
    'PreActivationRecorder',
    'PyramidNet',
    'ScoreRowsConnector',
    'SpectralNormConnector',
    'StagedBackbone',
    'TapwiseConnector',
    'TapwiseLoss',
]
