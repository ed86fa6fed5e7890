# ResNet-18 on ImageNet: student of the transformers.
_base_ = './resnet50_in1k.py'
model = dict(backbone=dict(depth=18), head=dict(in_channels=512))
