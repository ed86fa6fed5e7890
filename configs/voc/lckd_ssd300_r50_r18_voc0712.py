# SSD300 ResNet-50 teaches SSD300 ResNet-18 on PASCAL VOC 07+12.
_base_ = [
    '../_base_/distillers/lckd_backbone.py',
    '../_base_/datasets/voc0712_ssd300.py',
    '../_base_/schedules/ssd_24e.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='lckd_mm::voc/ssd300_r18_voc0712.py'),
    teacher=dict(cfg_path='lckd_mm::voc/ssd300_r50_voc0712.py'),
    teacher_ckpt='work_dirs/ssd300_r50_voc0712/epoch_24.pth',
    distiller=dict(taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'], probe_size=(300, 300)),
)
