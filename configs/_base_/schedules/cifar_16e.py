# The same at twice the length.
_base_ = './cifar_8e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=4, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=4, end=16, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=16)
