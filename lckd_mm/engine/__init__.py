from .hooks import LipschitzMonitorHook, LossWeightSchedulerHook

__all__ = ['LipschitzMonitorHook', 'LossWeightSchedulerHook']
