from .hooks import (
    AnnotationCheckHook,
    ClassCountHook,
    LipschitzBalanceHook,
    LipschitzMonitorHook,
    LossWeightHook,
    LossWeightSchedulerHook,
)

__all__ = [
    'AnnotationCheckHook',
    'ClassCountHook',
    'LipschitzBalanceHook',
    'LipschitzMonitorHook',
    'LossWeightHook',
    'LossWeightSchedulerHook',
]
