# The authors' setting (a) for CIFAR-100, applied to WRN-16-2 and WRN-16-1 on CIFAR-10.
_base_ = ['./wrn16_1_cifar10.py', '../cifar100/_base_/setting_a.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar10/wrn16_2_cifar10.py'),
    teacher_ckpt='work_dirs/wrn16_2_cifar10/epoch_16.pth',
    **_base_.distillation,
)
default_hooks = dict(
    _base_.distillation_hooks, lipschitz_monitor=dict(_base_.distillation_hooks.lipschitz_monitor, interval=10)
)
