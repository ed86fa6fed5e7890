# The block for detectors on BCCD: SSD300 R18 with 32 channels teaches one with 8.
_base_ = ['./ssd300_r18w8_bccd.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::bccd/ssd300_r18w32_bccd.py'),
    teacher_ckpt='work_dirs/ssd300_r18w32_bccd/epoch_60.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
        probe_size=(300, 300),
    ),
)
default_hooks = _base_.distillation_hooks
