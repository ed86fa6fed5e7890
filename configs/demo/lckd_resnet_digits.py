# The flagship's block on a classifier; the teacher is resnet_w16_digits.py.
_base_ = ['../_base_/distillers/lckd_backbone.py', './_base_/digit_crops.py']
model = dict(
    architecture=dict(cfg_path='lckd_mm::demo/resnet_w4_digits.py'),
    teacher=dict(cfg_path='lckd_mm::demo/resnet_w16_digits.py'),
    teacher_ckpt='work_dirs/resnet_w16_digits/epoch_6.pth',
    distiller=dict(probe_size=(16, 16)),
)
