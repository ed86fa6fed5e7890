# SSD300 on a ResNet-50 without its last stage: stages of stride 8 and 16 replace VGG's feature maps of 38 and 19 pixels.
_base_ = ['mmdet::_base_/models/ssd300.py']
model = dict(
    data_preprocessor=dict(std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    # L2Norm compensates for the scale of VGG's conv4_3; a stage that ends in a BN needs no compensation. The gradient of
    # mmdet's L2Norm is not finite where all channels are 0, as after a ReLU.
    neck=dict(l2_norm_scale=None),
    # Classes and anchor sizes of mmdet's SSD for VOC.
    bbox_head=dict(num_classes=20, anchor_generator=dict(basesize_ratio_range=(0.2, 0.9))),
)
