# Student without distillation on VOC 07+12: SSD300 on a ResNet-18.
_base_ = './ssd300_r50_voc0712.py'
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=(128, 256), out_channels=(128, 256, 512, 256, 256, 256)),
    bbox_head=dict(in_channels=(128, 256, 512, 256, 256, 256)),
)
