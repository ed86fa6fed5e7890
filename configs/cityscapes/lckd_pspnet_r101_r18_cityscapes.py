# The student alone: mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py.
_base_ = './lckd_deeplabv3plus_r101_r18_cityscapes.py'
model = dict(
    architecture=dict(cfg_path='mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'),
    teacher=dict(cfg_path='mmseg::pspnet/pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py'),
    # mmsegmentation's own: 79.76 mIoU.
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/'
    'pspnet_r101-d8_512x1024_80k_cityscapes/pspnet_r101-d8_512x1024_80k_cityscapes_20200606_112211-e1e1100f.pth',
)
