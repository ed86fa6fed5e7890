# Teacher on COCO: mmdet's FCOS with torchvision's ResNet-50 and pixel statistics, which the student has too.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        norm_cfg=dict(requires_grad=True), style='pytorch', init_cfg=dict(checkpoint='torchvision://resnet50')
    ),
)
data_help = 'download COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
