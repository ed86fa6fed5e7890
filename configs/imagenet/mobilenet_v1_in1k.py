# MobileNet v1 on ImageNet: student of setting (b).
_base_ = './resnet50_in1k.py'
model = dict(backbone=dict(_delete_=True, type='lckd_mm.models.MobileNetV1'), head=dict(in_channels=1024))
