# Teacher on BCCD: SSD300 on a ResNet-18 with 32 channels, from random weights.
_base_ = ['../_base_/models/ssd300_resnet.py', './_base_/bccd_300.py']
model = dict(
    backbone=dict(depth=18, base_channels=32, stem_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=(64, 128), out_channels=(64, 128, 128, 64, 64, 64)),
    bbox_head=dict(in_channels=(64, 128, 128, 64, 64, 64), num_classes=3),
)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=60)]
train_cfg = dict(max_epochs=60, val_interval=10)
