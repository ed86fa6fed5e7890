# Setting (e) of the paper, architecture: PyramidNet-200 (alpha 240) teaches WRN-28-4.
_base_ = ['./wrn28_4_cifar100.py', './_base_/setting_e.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar100/pyramidnet200_a240_cifar100.py'),
    teacher_ckpt='work_dirs/pyramidnet200_a240_cifar100/epoch_200.pth',
    distiller=dict(
        _base_.distillation.distiller,
        teacher_taps=['backbone.layer2.0.bn2', 'backbone.layer3.0.bn2', 'backbone.bn_final'],
    ),
)
default_hooks = _base_.distillation_hooks
train_dataloader = dict(batch_size=64)
# Divided by 10 once more at 7/8 of the epochs.
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[100, 150, 175], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=64)
