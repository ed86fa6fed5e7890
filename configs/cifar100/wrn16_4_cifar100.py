# WRN-16-4 on CIFAR-100: student of setting (a).
_base_ = './wrn28_4_cifar100.py'
model = dict(backbone=dict(depth=16))
