# The student alone: mmdet::retinanet/retinanet_r18_fpn_1x_coco.py.
_base_ = './lckd_faster_rcnn_r50_r18_coco.py'
model = dict(
    architecture=dict(cfg_path='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'),
    teacher=dict(cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'),
    # mmdet's own: 36.5 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/'
    'retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth',
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
