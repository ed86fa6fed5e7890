# BCCD at 240x180 pixels for Faster R-CNN, and 8 epochs.
_base_ = './bccd.py'
resize = dict(type='Resize', scale=(240, 180), keep_ratio=True)
test_pipeline = [dict(type='LoadImageFromFile'), resize, _base_.boxes, _base_.pack_test]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.load, resize, *_base_.flip_and_pack]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=8)]
train_cfg = dict(max_epochs=8, val_interval=4)
