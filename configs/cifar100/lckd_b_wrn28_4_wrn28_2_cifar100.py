# Setting (b), channels: WRN-28-4 teaches WRN-28-2, as the paper's table says (the published code builds a WRN-16-4).
_base_ = './lckd_a_wrn28_4_wrn16_4_cifar100.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::cifar100/wrn28_2_cifar100.py'),
    distiller=dict(distill_losses=dict(loss_lipschitz=dict(loss_weight=0.2 / 200))),
)
custom_hooks = [dict(type='mmrazor.LipschitzMonitorHook', interval=50)]
