# Student without distillation on BCCD: SSD300 on a ResNet-18 with 8 channels, 24 epochs.
_base_ = './ssd300_r18w32_bccd.py'
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=(16, 32), out_channels=(16, 32, 32, 16, 16, 16)),
    bbox_head=dict(in_channels=(16, 32, 32, 16, 16, 16)),
)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=24)]
train_cfg = dict(max_epochs=24, val_interval=4)
