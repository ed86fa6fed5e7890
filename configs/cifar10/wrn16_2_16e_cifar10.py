# Teacher on CIFAR-10: WRN-16-2, 16 epochs.
_base_ = './wrn16_2_cifar10.py'
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=16)]
train_cfg = dict(max_epochs=16)
