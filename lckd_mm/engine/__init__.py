from .hooks import LipschitzBalanceHook, LipschitzMonitorHook, LossWeightSchedulerHook

__all__ = ['LipschitzBalanceHook', 'LipschitzMonitorHook', 'LossWeightSchedulerHook']
