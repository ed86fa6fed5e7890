# Setting (f) of the paper, architecture: PyramidNet-200 (alpha 240) teaches PyramidNet-110 (alpha 84).
_base_ = ['./pyramidnet110_a84_cifar100.py', './_base_/setting_f.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar100/pyramidnet200_a240_cifar100.py'),
    teacher_ckpt='work_dirs/pyramidnet200_a240_cifar100/epoch_200.pth',
    distiller=dict(
        _base_.distillation.distiller,
        student_taps=['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn_final'],
        teacher_taps=['backbone.layer2.0.bn2', 'backbone.layer3.0.bn2', 'backbone.bn_final'],
    ),
)
default_hooks = _base_.distillation_hooks
# Divided by 5 once more at 7/8 of the epochs.
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='MultiStepLR', by_epoch=True, milestones=[175], gamma=0.2),
]
