# DeepLabV3+ ResNet-101 teaches DeepLabV3+ MobileNetV2 on VOC 2012 + SBD, with OFD.
_base_ = ['./deeplabv3plus_mobilenetv2_voc12aug.py', './_base_/lipschitz_ofd_mobilenetv2.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::voc/deeplabv3plus_r101_voc12aug.py'),
    # mmsegmentation's checkpoint: 78.62 mIoU.
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/deeplabv3plus/'
    'deeplabv3plus_r101-d8_512x512_40k_voc12aug/deeplabv3plus_r101-d8_512x512_40k_voc12aug_20200613_205333-faf03387.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
