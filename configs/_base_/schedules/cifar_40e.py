# The schedule of cifar_8e.py at five times the length.
_base_ = './cifar_8e.py'
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=40)]
train_cfg = dict(max_epochs=40, val_interval=5)
