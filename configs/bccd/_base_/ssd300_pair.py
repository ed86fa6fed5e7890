# What the distillations of SSD300 share.
_base_ = './bccd_at_300.py'
pair = dict(
    architecture=dict(cfg_path='lckd_mm::bccd/ssd300_r18w8_bccd.py'),
    teacher=dict(cfg_path='lckd_mm::bccd/ssd300_r18w32_bccd.py'),
    teacher_ckpt='work_dirs/ssd300_r18w32_bccd/epoch_36.pth',
)
stages = dict(taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'], probe_size=(300, 300))
