# Setting (c) of the paper, depth and channels: WRN-28-4 teaches WRN-16-2.
_base_ = ['./wrn16_2_cifar100.py', './_base_/setting_c.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar100/wrn28_4_cifar100.py'),
    teacher_ckpt='work_dirs/wrn28_4_cifar100/epoch_200.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
# Divided by 5 once more at 7/8 of the epochs.
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='MultiStepLR', by_epoch=True, milestones=[175], gamma=0.2),
]
