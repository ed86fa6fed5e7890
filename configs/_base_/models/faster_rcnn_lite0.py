# Faster R-CNN on EfficientNet-Lite0 with ImageNet weights and a pyramid of 64 channels.
_base_ = './faster_rcnn_small.py'
model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        _delete_=True,
        type='lckd_mm.models.EfficientNetLite',
        arch='lite0',
        out_indices=(1, 2, 3, 4),
        # The published momentum, 0.01, is too slow for the statistics of a training of a few hundred iterations.
        norm_cfg=dict(type='BN', momentum=0.1),
        pretrained=True,
    ),
    neck=dict(in_channels=[24, 40, 112, 320], out_channels=64),
    # Anchors of 16 to 256 pixels.
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
)
