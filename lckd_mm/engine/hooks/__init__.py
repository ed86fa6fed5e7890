from .annotation_check_hook import AnnotationCheckHook
from .checkpoint_match_hook import CheckpointMatchHook
from .class_count_hook import ClassCountHook
from .lipschitz_balance_hook import LipschitzBalanceHook
from .lipschitz_monitor_hook import LipschitzMonitorHook
from .loss_weight_hook import LossWeightHook
from .loss_weight_scheduler_hook import LossWeightSchedulerHook
from .sample_error_hook import SampleErrorHook

__all__ = [
    'AnnotationCheckHook',
    'CheckpointMatchHook',
    'ClassCountHook',
    'LipschitzBalanceHook',
    'LipschitzMonitorHook',
    'LossWeightHook',
    'LossWeightSchedulerHook',
    'SampleErrorHook',
]
