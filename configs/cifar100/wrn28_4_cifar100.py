# WRN-28-4 on CIFAR-100: teacher of the settings (a) to (d), student of (e).
_base_ = [
    '../_base_/models/wide_resnet.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    'mmpretrain::_base_/default_runtime.py',
]
