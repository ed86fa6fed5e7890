# FCOS R50-FPN teaches FCOS R18-FPN on COCO.
_base_ = ['./fcos_r18_coco.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::coco/fcos_r50_coco.py'),
    teacher_ckpt='work_dirs/fcos_r50_coco/epoch_12.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
