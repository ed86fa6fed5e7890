# Student without distillation on COCO: Mask R-CNN on a ResNet-18.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
data_help = 'download COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
