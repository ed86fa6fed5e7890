# The Lipschitz loss, balanced, on BCCD: Faster R-CNN on EfficientNet-Lite2 teaches one on Lite0.
_base_ = ['./faster_rcnn_lite0_bccd.py', '../_base_/distillers/lipschitz_balanced.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::bccd/faster_rcnn_lite2_bccd.py'),
    teacher_ckpt='work_dirs/faster_rcnn_lite2_bccd/epoch_40.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=['backbone.layer2', 'backbone.layer3', 'backbone.layer4', 'backbone.layer5'],
    ),
)
default_hooks = _base_.distillation_hooks
