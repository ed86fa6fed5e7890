from .hooks import (
    AnnotationCheckHook,
    CheckpointMatchHook,
    ClassCountHook,
    LipschitzBalanceHook,
    LipschitzMonitorHook,
    LossWeightHook,
    LossWeightSchedulerHook,
)

__all__ = [
    'AnnotationCheckHook',
    'CheckpointMatchHook',
    'ClassCountHook',
    'LipschitzBalanceHook',
    'LipschitzMonitorHook',
    'LossWeightHook',
    'LossWeightSchedulerHook',
]
