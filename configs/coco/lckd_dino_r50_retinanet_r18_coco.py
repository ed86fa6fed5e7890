# A detector of the DETR family teaches a convolutional one; the student alone: mmdet::retinanet/retinanet_r18_fpn_1x_coco.py.
_base_ = './lckd_retinanet_r50_r18_coco.py'
model = dict(
    teacher=dict(cfg_path='mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'),
    # mmdet's own: 49.0 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v3.0/dino/dino-4scale_r50_8xb2-12e_coco/'
    'dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth',
)
