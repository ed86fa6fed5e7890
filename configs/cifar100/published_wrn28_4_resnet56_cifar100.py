# Setting (d) of the paper, architecture: WRN-28-4 teaches ResNet-56.
_base_ = ['./resnet56_cifar100.py', './_base_/setting_d.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar100/wrn28_4_cifar100.py'),
    teacher_ckpt='work_dirs/wrn28_4_cifar100/epoch_200.pth',
    distiller=dict(
        _base_.distillation.distiller,
        student_taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
    ),
)
default_hooks = _base_.distillation_hooks
# Divided by 5 once more at 7/8 of the epochs.
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='MultiStepLR', by_epoch=True, milestones=[175], gamma=0.2),
]
