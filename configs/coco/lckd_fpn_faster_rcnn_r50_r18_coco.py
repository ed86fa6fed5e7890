# The levels of the feature pyramid as taps.
_base_ = [
    '../_base_/distillers/lckd_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='lckd_mm::coco/faster_rcnn_r18_coco.py'),
    teacher=dict(cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    # mmdet's own: 37.4 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
    'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth',
)
data_help = 'get COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
