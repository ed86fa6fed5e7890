# RetinaNet R50-FPN teaches RetinaNet R18-FPN on COCO.
_base_ = ['mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'),
    # mmdet's checkpoint: 36.5 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/'
    'retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
data_help = 'download COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
