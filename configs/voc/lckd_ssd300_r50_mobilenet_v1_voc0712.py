# SSD300 ResNet-50 teaches SSD300 MobileNet v1 on PASCAL VOC 07+12.
_base_ = './lckd_ssd300_r50_r18_voc0712.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::voc/ssd300_mobilenet_v1_voc0712.py'),
    distiller=dict(student_taps=['backbone.layer2', 'backbone.layer3', 'backbone.layer4']),
)
