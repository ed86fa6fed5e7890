# Teacher of the classification demonstration: a ResNet-18 for small images with 16 instead of 64 channels.
_base_ = ['mmpretrain::_base_/models/resnet18_cifar.py', './_base_/digit_crops.py']
model = dict(backbone=dict(base_channels=16, stem_channels=16), head=dict(in_channels=128))
