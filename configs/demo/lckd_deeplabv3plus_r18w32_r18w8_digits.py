# The segmentation demonstration: DeepLabV3+ R18 with 32 channels teaches one with 8 on the bundled data set.
_base_ = ['./deeplabv3plus_r18w8_digits.py', '../_base_/distillers/lckd_segmentation.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::demo/deeplabv3plus_r18w32_digits.py'),
    teacher_ckpt='work_dirs/deeplabv3plus_r18w32_digits/epoch_8.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
