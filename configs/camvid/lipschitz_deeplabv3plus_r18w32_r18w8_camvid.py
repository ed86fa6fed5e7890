# The Lipschitz loss on CamVid: DeepLabV3+ R18 with 32 channels teaches one with 8.
_base_ = ['./deeplabv3plus_r18w8_camvid.py', '../_base_/distillers/lipschitz.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::camvid/deeplabv3plus_r18w32_camvid.py'),
    teacher_ckpt='work_dirs/deeplabv3plus_r18w32_camvid/epoch_40.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
