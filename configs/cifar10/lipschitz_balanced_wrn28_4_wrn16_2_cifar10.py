# The Lipschitz loss, balanced, on CIFAR-10: WRN-28-4 teaches WRN-16-2, as in the paper's setting (c).
_base_ = ['./wrn16_2_cifar10.py', '../_base_/distillers/lipschitz_balanced.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::cifar10/wrn28_4_cifar10.py'),
    teacher_ckpt='work_dirs/wrn28_4_cifar10/epoch_40.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn1'],
        probe_size=(32, 32),
    ),
)
default_hooks = _base_.distillation_hooks
