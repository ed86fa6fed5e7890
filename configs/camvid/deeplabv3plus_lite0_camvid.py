# Student without distillation on CamVid: DeepLabV3+ on EfficientNet-Lite0, 40 epochs.
_base_ = ['../_base_/models/deeplabv3plus_lite0_d16.py', './_base_/runtime.py', '../_base_/schedules/adamw_40e.py']
model = dict(data_preprocessor=dict(size=(160, 208), test_cfg=dict(size_divisor=16)))
