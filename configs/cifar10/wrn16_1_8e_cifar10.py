# Student without distillation on CIFAR-10: WRN-16-1, 8 epochs.
_base_ = ['../_base_/models/wide_resnet.py', './_base_/runtime.py', '../_base_/schedules/cifar_8e.py']
model = dict(backbone=dict(depth=16, widen_factor=1), head=dict(num_classes=10, in_channels=64, topk=(1,)))
