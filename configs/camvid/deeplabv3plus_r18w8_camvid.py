# Student without distillation on CamVid.
_base_ = ['../_base_/models/deeplabv3plus_r18w8.py', './_base_/runtime.py', '../_base_/schedules/adamw_12e.py']
model = dict(data_preprocessor=dict(size=(160, 208), test_cfg=dict(size_divisor=16)))
