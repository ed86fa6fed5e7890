# The detection demonstration: a small version of the flagship on the bundled data set.
_base_ = ['./faster_rcnn_r18_digits.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::demo/faster_rcnn_r50_digits.py'),
    teacher_ckpt='work_dirs/faster_rcnn_r50_digits/epoch_7.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
