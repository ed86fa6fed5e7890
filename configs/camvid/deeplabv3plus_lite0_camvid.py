# Student without distillation on CamVid: DeepLabV3+ on EfficientNet-Lite0, 30 epochs.
_base_ = ['../_base_/models/deeplabv3plus_lite0_d16.py', './_base_/runtime.py', '../_base_/schedules/adamw_40e.py']
model = dict(data_preprocessor=dict(size=(160, 208), test_cfg=dict(size_divisor=16)))
train_dataloader = dict(batch_size=16)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=30)]
train_cfg = dict(max_epochs=30, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10))
