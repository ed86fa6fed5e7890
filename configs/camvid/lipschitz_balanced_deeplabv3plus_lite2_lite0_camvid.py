# The Lipschitz loss, balanced, on CamVid: DeepLabV3+ on EfficientNet-Lite2 teaches one on Lite0.
_base_ = ['./deeplabv3plus_lite0_camvid.py', '../_base_/distillers/lipschitz_balanced.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::camvid/deeplabv3plus_lite2_camvid.py'),
    teacher_ckpt='work_dirs/deeplabv3plus_lite2_camvid/epoch_40.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=['backbone.layer2', 'backbone.layer3', 'backbone.layer4', 'backbone.layer5'],
    ),
)
default_hooks = _base_.distillation_hooks
