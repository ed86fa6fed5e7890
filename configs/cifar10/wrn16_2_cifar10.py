# The teacher of a comparison that a CPU can run.
_base_ = [
    '../_base_/models/wide_resnet.py',
    '../_base_/datasets/cifar10_folders.py',
    '../_base_/schedules/cifar_16e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(depth=16, widen_factor=2),
    head=dict(num_classes=10, in_channels=128, topk=(1,)),
)
default_hooks = dict(logger=dict(interval=26), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
