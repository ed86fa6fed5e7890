# The teacher's: as camvid_12e.py, longer.
_base_ = './camvid_12e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, begin=1, end=40, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=40, val_interval=10)
