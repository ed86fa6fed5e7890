# The flagship's block on a segmentor; the teacher is deeplabv3plus_r18w32_digits.py.
_base_ = ['../_base_/distillers/lckd_backbone.py', './_base_/digit_masks.py']
model = dict(
    architecture=dict(cfg_path='lckd_mm::demo/deeplabv3plus_r18w8_digits.py'),
    teacher=dict(cfg_path='lckd_mm::demo/deeplabv3plus_r18w32_digits.py'),
    teacher_ckpt='work_dirs/deeplabv3plus_r18w32_digits/epoch_8.pth',
    distiller=dict(probe_size=(160, 160)),
)
