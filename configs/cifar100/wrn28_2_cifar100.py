# WRN-28-2 on CIFAR-100: student of setting (b).
_base_ = './wrn28_4_cifar100.py'
model = dict(backbone=dict(widen_factor=2), head=dict(in_channels=128))
