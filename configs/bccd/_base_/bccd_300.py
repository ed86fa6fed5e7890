# BCCD at 300x300 pixels for SSD300.
_base_ = './bccd.py'
resize = dict(type='Resize', scale=(300, 300), keep_ratio=False)
# SSD's Expand is omitted, since it makes cells smaller than any in the set.
crop = dict(type='MinIoURandomCrop', min_ious=(0.3, 0.5, 0.7, 0.9), min_crop_size=0.5)
test_pipeline = [dict(type='LoadImageFromFile'), resize, _base_.boxes, _base_.pack_test]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.load, crop, resize, *_base_.flip_and_pack]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
