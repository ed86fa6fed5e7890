# Student without distillation on CIFAR-10: WRN-16-2, 40 epochs.
_base_ = ['../_base_/models/wide_resnet.py', './_base_/runtime.py', '../_base_/schedules/cifar_40e.py']
model = dict(backbone=dict(depth=16, widen_factor=2), head=dict(num_classes=10, in_channels=128, topk=(1,)))
