# Setting (c), depth and channels: WRN-28-4 teaches WRN-16-2.
_base_ = './lckd_b_wrn28_4_wrn28_2_cifar100.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::cifar100/wrn16_2_cifar100.py'),
    distiller=dict(distill_losses=dict(loss_lipschitz=dict(loss_weight=0.25 / 200))),
)
# Once more at 7/8 of the epochs, to a 500th.
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, milestones=[100, 150], gamma=0.1),
    dict(type='MultiStepLR', by_epoch=True, milestones=[175], gamma=0.2),
]
