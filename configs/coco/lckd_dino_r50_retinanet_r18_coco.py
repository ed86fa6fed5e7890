# A detector of the DETR family teaches a convolutional one: DINO R50 teaches RetinaNet R18-FPN on COCO.
_base_ = './lckd_retinanet_r50_r18_coco.py'
model = dict(
    teacher=dict(cfg_path='mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'),
    # mmdet's checkpoint: 49.0 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v3.0/dino/dino-4scale_r50_8xb2-12e_coco/'
    'dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth',
)
