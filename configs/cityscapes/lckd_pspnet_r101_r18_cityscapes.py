# PSPNet R101 teaches PSPNet R18 on Cityscapes.
_base_ = ['mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py', '../_base_/distillers/lckd_segmentation.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmseg::pspnet/pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py'),
    # mmsegmentation's checkpoint: 79.76 mIoU.
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/'
    'pspnet_r101-d8_512x1024_80k_cityscapes/pspnet_r101-d8_512x1024_80k_cityscapes_20200606_112211-e1e1100f.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
data_help = (
    'download Cityscapes, convert its labels with mmsegmentation, and put leftImg8bit and gtFine into data/cityscapes'
)
