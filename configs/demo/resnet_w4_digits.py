# Student of the classification demonstration without distillation: a quarter of the teacher's channels.
_base_ = './resnet_w16_digits.py'
model = dict(backbone=dict(base_channels=4, stem_channels=4), head=dict(in_channels=32))
