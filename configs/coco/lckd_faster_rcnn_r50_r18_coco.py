# The flagship on COCO: Faster R-CNN R50-FPN teaches Faster R-CNN R18-FPN.
_base_ = ['./faster_rcnn_r18_coco.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    # mmdet's checkpoint: 37.4 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
    'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
