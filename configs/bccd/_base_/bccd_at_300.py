# Blood cells as SSD300 takes them, and the schedule of a comparison for a CPU.
_base_ = ['./bccd.py', 'mmdet::_base_/default_runtime.py']
size = (300, 300)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    _base_.bccd_boxes,
    _base_.bccd_filter,
    # Without SSD's Expand: cells as small as that makes them are not in the set.
    dict(type='MinIoURandomCrop', min_ious=(0.3, 0.5, 0.7, 0.9), min_crop_size=0.5),
    dict(type='Resize', scale=size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size, keep_ratio=False),
    _base_.bccd_boxes,
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
bccd_images = dict(type='XMLDataset', data_prefix=dict(sub_data_root=''), **_base_.bccd_set)
# A batch is read in 50 ms, and worker processes would take the cores from the training.
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='ImageSets/Main/train.txt', pipeline=train_pipeline, **bccd_images),
)
# Nothing is selected on the test images, which are read as they come.
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='ImageSets/Main/test.txt', test_mode=True, pipeline=test_pipeline, **bccd_images),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.02), clip_grad=dict(max_norm=10)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, begin=1, end=12, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=6)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(max_keep_ckpts=1))
data_help = _base_.bccd.data_help
randomness = dict(seed=0)
