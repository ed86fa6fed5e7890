# The schedule of cifar_8e.py at twice the length.
_base_ = './cifar_8e.py'
param_scheduler = [
    dict(_base_.param_scheduler[0], end=4),
    dict(_base_.param_scheduler[1], begin=4, end=16),
]
train_cfg = dict(max_epochs=16)
