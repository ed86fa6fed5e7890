# Mask R-CNN R50-FPN teaches Mask R-CNN R18-FPN on COCO.
_base_ = ['./mask_rcnn_r18_coco.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
    # mmdet's checkpoint: 38.2 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_1x_coco/'
    'mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
