# The classification demonstration: ResNet-18 with 16 channels teaches one with 4 on the bundled data set.
_base_ = ['./resnet_w4_digits.py', '../_base_/distillers/lckd_classification.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::demo/resnet_w16_digits.py'),
    teacher_ckpt='work_dirs/resnet_w16_digits/epoch_6.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
