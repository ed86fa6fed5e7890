_base_ = [
    '../_base_/distillers/lckd_backbone.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='lckd_mm::coco/mask_rcnn_r18_coco.py'),
    teacher=dict(cfg_path='mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
    # mmdet's own: 38.2 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_1x_coco/'
    'mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth',
)
data_help = 'get COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
