# DeepLabV3+ R101 teaches DeepLabV3+ R18 on Cityscapes.
_base_ = [
    'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distillers/lckd_segmentation.py',
]
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-80k_cityscapes-512x1024.py'),
    # mmsegmentation's checkpoint: 80.97 mIoU.
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/deeplabv3plus/'
    'deeplabv3plus_r101-d8_512x1024_80k_cityscapes/deeplabv3plus_r101-d8_512x1024_80k_cityscapes_20200606_114143-068fcfe9.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
data_help = (
    'download Cityscapes, convert its labels with mmsegmentation, and put leftImg8bit and gtFine into data/cityscapes'
)
