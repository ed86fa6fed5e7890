# The CIFAR schedule with 8 epochs.
_base_ = './cifar_40e.py'
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=8)]
train_cfg = dict(max_epochs=8, val_interval=1)
