# Data and runtime of the CIFAR-10 comparison: 10,000 training images.
_base_ = ['../../_base_/datasets/cifar10_folders.py', 'mmpretrain::_base_/default_runtime.py']
default_hooks = dict(logger=dict(interval=26), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
