# What teacher and student of the demonstration change in mmdet::_base_/models/faster-rcnn_r50_fpn.py: everything narrower,
# for images of 160x160 with objects of 20 to 45 pixels, and trained from random weights, so that nothing is downloaded.
num_classes = 10
scratch = dict(frozen_stages=-1, norm_eval=False, init_cfg=None)
# Up to ten objects an image; RoIAlign has no parallel CPU kernel and is the dearest single operator of a training step.
few_proposals = dict(
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=50)),
)

small_teacher = dict(
    backbone=dict(depth=50, base_channels=16, **scratch),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=num_classes),
    ),
    **few_proposals,
)
small_student = dict(
    backbone=dict(depth=18, base_channels=8, **scratch),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=128, num_classes=num_classes),
    ),
    **few_proposals,
)
