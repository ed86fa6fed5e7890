# Student without distillation on COCO: FCOS on a ResNet-18.
_base_ = './fcos_r50_coco.py'
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
