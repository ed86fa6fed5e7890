# PyramidNet-110 (alpha 84) on CIFAR-100: student of setting (f).
_base_ = './pyramidnet200_a240_cifar100.py'
model = dict(backbone=dict(depth=110, alpha=84, bottleneck=False), head=dict(in_channels=100))
