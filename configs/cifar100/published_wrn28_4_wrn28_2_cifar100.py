# Setting (b) of the paper, channels: WRN-28-4 teaches WRN-28-2, as in the paper's table (the code builds WRN-16-4).
_base_ = ['./wrn28_2_cifar100.py', './_base_/setting_b.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar100/wrn28_4_cifar100.py'),
    teacher_ckpt='work_dirs/wrn28_4_cifar100/epoch_200.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
