# The Lipschitz loss, balanced, on CIFAR-10: WRN-16-2 teaches WRN-16-1 for 8 epochs.
_base_ = ['./wrn16_1_8e_cifar10.py', '../_base_/distillers/lipschitz_balanced.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar10/wrn16_2_16e_cifar10.py'),
    teacher_ckpt='work_dirs/wrn16_2_16e_cifar10/epoch_16.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn1'],
        probe_size=(32, 32),
    ),
)
default_hooks = _base_.distillation_hooks
