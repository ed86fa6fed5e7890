from .lipschitz_monitor_hook import LipschitzMonitorHook
from .loss_weight_scheduler_hook import LossWeightSchedulerHook

__all__ = ['LipschitzMonitorHook', 'LossWeightSchedulerHook']
