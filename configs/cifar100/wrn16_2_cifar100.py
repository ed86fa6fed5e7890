# WRN-16-2 on CIFAR-100: student of setting (c).
_base_ = './wrn28_4_cifar100.py'
model = dict(backbone=dict(depth=16, widen_factor=2), head=dict(in_channels=128))
