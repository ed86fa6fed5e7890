# Soft targets alone; a Lipschitz term of weight 0 has its norms logged.
_base_ = './lckd_kd_cifar10.py'
model = dict(distiller=dict(distill_losses=dict(loss_lipschitz=dict(loss_weight=0.0))))
custom_hooks = [dict(type='mmrazor.LipschitzMonitorHook', interval=10)]
