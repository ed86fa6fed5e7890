# Setting (a) of the paper, depth: WRN-28-4 teaches WRN-16-4.
_base_ = ['./wrn16_4_cifar100.py', './_base_/setting_a.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar100/wrn28_4_cifar100.py'),
    teacher_ckpt='work_dirs/wrn28_4_cifar100/epoch_200.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
