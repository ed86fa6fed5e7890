from .hooks import (
    AnnotationCheckHook,
    CheckpointMatchHook,
    ClassCountHook,
    LipschitzBalanceHook,
    LipschitzMonitorHook,
    LossWeightHook,
    LossWeightSchedulerHook,
)
from .metrics import Calibration
from .transforms import CorruptImage

__all__ = [
    'AnnotationCheckHook',
    'Calibration',
    'CheckpointMatchHook',
    'ClassCountHook',
    'CorruptImage',
    'LipschitzBalanceHook',
    'LipschitzMonitorHook',
    'LossWeightHook',
    'LossWeightSchedulerHook',
]
