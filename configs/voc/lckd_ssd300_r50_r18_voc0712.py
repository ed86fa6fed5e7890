# SSD300 ResNet-50 teaches SSD300 ResNet-18 on PASCAL VOC 07+12.
_base_ = ['./ssd300_r18_voc0712.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::voc/ssd300_r50_voc0712.py'),
    teacher_ckpt='work_dirs/ssd300_r50_voc0712/epoch_24.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
        probe_size=(300, 300),
    ),
)
default_hooks = _base_.distillation_hooks
