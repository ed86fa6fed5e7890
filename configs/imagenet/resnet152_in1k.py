# ResNet-152 on ImageNet: teacher of setting (a).
_base_ = './resnet50_in1k.py'
model = dict(backbone=dict(depth=152))
