# Student without distillation on VOC 2012 + SBD: DeepLabV3+ on a ResNet-18.
_base_ = './deeplabv3plus_r101_voc12aug.py'
model = dict(
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128, c1_in_channels=64, c1_channels=12),
    auxiliary_head=dict(in_channels=256, channels=64),
)
