# Faster R-CNN on EfficientNet-Lite2 with a pyramid of 128 channels.
_base_ = './faster_rcnn_lite0.py'
model = dict(
    backbone=dict(arch='lite2'),
    neck=dict(in_channels=[24, 48, 120, 352], out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128),
        bbox_head=dict(in_channels=128, fc_out_channels=512),
    ),
)
