# ResNet-56 on CIFAR-100: student of setting (d).
_base_ = './wrn28_4_cifar100.py'
model = dict(backbone=dict(_delete_=True, type='lckd_mm.models.CIFARResNet', depth=56), head=dict(in_channels=64))
