# What the configs here share: 10 000 training images, 8 epochs, WRN-16-2 teaching WRN-16-1.
_base_ = [
    '../../_base_/datasets/cifar10_folders.py',
    '../../_base_/schedules/cifar_8e.py',
    'mmpretrain::_base_/default_runtime.py',
]
pair = dict(
    architecture=dict(cfg_path='lckd_mm::cifar10/wrn16_1_cifar10.py'),
    teacher=dict(cfg_path='lckd_mm::cifar10/wrn16_2_cifar10.py'),
    teacher_ckpt='work_dirs/wrn16_2_cifar10/epoch_16.pth',
)
wrn_distiller = dict(taps=['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn1'], probe_size=(32, 32))
default_hooks = dict(logger=dict(interval=26), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
