# The bundled set's masks, to be segmented: digits and what is behind them, 255 for their blurred contours.
_base_ = ['mmseg::_base_/default_runtime.py']
masks = dict(
    type='mmrazor.DigitMasks',
    data_root='data/digits_voc',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
)
mask_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
# A batch is read in 10 ms, and worker processes would take the cores from the training.
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    # No flips: a mirrored digit is no digit.
    dataset=dict(ann_file='ImageSets/Segmentation/train.txt', pipeline=mask_pipeline, **masks),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='ImageSets/Segmentation/val.txt', pipeline=mask_pipeline, **masks),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='ImageSets/Segmentation/test.txt', pipeline=mask_pipeline, **masks),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
data_help = 'make the set with `python tools/dataset_converters/make_demo_set.py`'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, begin=1, end=8, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
# In epochs, where mmseg's runtime counts iterations.
log_processor = dict(by_epoch=True)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=True, interval=1, max_keep_ckpts=1, save_best='mIoU', rule='greater'
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
randomness = dict(seed=0)
