# The student alone.
_base_ = ['../_base_/models/wide_resnet.py', './_base_/comparison.py']
model = dict(backbone=dict(depth=16, widen_factor=1), head=dict(num_classes=10, in_channels=64, topk=(1,)))
