# Trainings of 40 epochs from ImageNet weights: linear warm-up over one epoch, then cosine annealing to 0.
_base_ = './adamw_12e.py'
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=40)]
train_cfg = dict(max_epochs=40, val_interval=10)
