# Teacher on CamVid: 40 epochs.
_base_ = ['../_base_/models/deeplabv3plus_r18w32.py', './_base_/runtime.py', '../_base_/schedules/adamw_12e.py']
model = dict(data_preprocessor=dict(size=(160, 208), test_cfg=dict(size_divisor=16)))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=40)]
train_cfg = dict(max_epochs=40, val_interval=10)
