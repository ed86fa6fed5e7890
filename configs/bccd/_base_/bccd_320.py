# BCCD at 320x240 pixels, and 40 epochs from ImageNet weights.
_base_ = './bccd.py'
resize = dict(type='Resize', scale=(320, 240), keep_ratio=True)
test_pipeline = [dict(type='LoadImageFromFile'), resize, _base_.boxes, _base_.pack_test]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.load, resize, *_base_.flip_and_pack]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=40)]
train_cfg = dict(max_epochs=40, val_interval=10)
