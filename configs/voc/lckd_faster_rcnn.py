# Faster R-CNN R50-FPN teaches Faster R-CNN R18-FPN on PASCAL VOC 07+12; the student alone is faster_rcnn_r18_fpn_voc0712.py.
_base_ = [
    '../_base_/distillers/lckd_backbone.py',
    'mmdet::_base_/datasets/voc0712.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/voc0712_4e.py',
]
model = dict(
    architecture=dict(
        cfg_path='mmdet::_base_/models/faster-rcnn_r50_fpn.py',
        cfg_options={
            'backbone.depth': 18,
            'backbone.init_cfg.checkpoint': 'torchvision://resnet18',
            'neck.in_channels': [64, 128, 256, 512],
            'roi_head.bbox_head.num_classes': 20,
        },
    ),
    teacher=dict(
        cfg_path='mmdet::_base_/models/faster-rcnn_r50_fpn.py', cfg_options={'roi_head.bbox_head.num_classes': 20}
    ),
    # mmdet's own: 80.4 mAP on the VOC 2007 test set.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/pascal_voc/faster_rcnn_r50_fpn_1x_voc0712/'
    'faster_rcnn_r50_fpn_1x_voc0712_20220320_192712-54bef0f3.pth',
)
