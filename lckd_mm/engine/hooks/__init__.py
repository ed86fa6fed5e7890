from .accumulated_gradient_hook import AccumulatedGradientHook
from .annotation_check_hook import AnnotationCheckHook
from .checkpoint_match_hook import CheckpointMatchHook
from .class_count_hook import ClassCountHook
from .data_size_hook import DataSizeHook
from .finite_loss_hook import FiniteLossHook
from .iteration_seed_hook import IterationSeedHook
from .lipschitz_balance_hook import LipschitzBalanceHook
from .lipschitz_monitor_hook import LipschitzMonitorHook
from .loss_weight_hook import LossWeightHook
from .loss_weight_scheduler_hook import LossWeightSchedulerHook
from .metric_check_hook import MetricCheckHook
from .module_attribute_hook import ModuleAttributeHook
from .resume_point_hook import ResumePointHook
from .run_time_hook import RunTimeHook
from .sample_error_hook import SampleErrorHook

__all__ = [
    'AccumulatedGradientHook',
    'AnnotationCheckHook',
    'CheckpointMatchHook',
    'ClassCountHook',
    'DataSizeHook',
    'FiniteLossHook',
    'IterationSeedHook',
    'LipschitzBalanceHook',
    'LipschitzMonitorHook',
    'LossWeightHook',
    'LossWeightSchedulerHook',
    'MetricCheckHook',
    'ModuleAttributeHook',
    'ResumePointHook',
    'RunTimeHook',
    'SampleErrorHook',
]
