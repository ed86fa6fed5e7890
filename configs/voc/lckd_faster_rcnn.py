# The flagship: Faster R-CNN R50-FPN teaches Faster R-CNN R18-FPN on PASCAL VOC 07+12.
_base_ = ['./faster_rcnn_r18_fpn_voc0712.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(
        cfg_path='mmdet::_base_/models/faster-rcnn_r50_fpn.py', cfg_options={'roi_head.bbox_head.num_classes': 20}
    ),
    # mmdet's checkpoint: 80.4 mAP on the VOC 2007 test set.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/pascal_voc/faster_rcnn_r50_fpn_1x_voc0712/'
    'faster_rcnn_r50_fpn_1x_voc0712_20220320_192712-54bef0f3.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
