_base_ = './lckd_faster_rcnn_r50_r18_coco.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::coco/fcos_r18_coco.py'),
    teacher=dict(cfg_path='lckd_mm::coco/fcos_r50_coco.py'),
    teacher_ckpt='work_dirs/fcos_r50_coco/epoch_12.pth',
)
# mmdet's for FCOS.
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
