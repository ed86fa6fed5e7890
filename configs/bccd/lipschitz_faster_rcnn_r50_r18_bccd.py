# The Lipschitz loss on BCCD: Faster R-CNN R50-FPN teaches Faster R-CNN R18-FPN.
_base_ = ['./faster_rcnn_r18_bccd.py', '../_base_/distillers/lipschitz.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::bccd/faster_rcnn_r50_bccd.py'),
    teacher_ckpt='work_dirs/faster_rcnn_r50_bccd/epoch_24.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
