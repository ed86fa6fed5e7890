# The masks of the bundled scenes (digits and background; 255 for blurred contours), and 8 epochs from random weights.
_base_ = ['mmseg::_base_/default_runtime.py', '../../_base_/schedules/adamw_12e.py']
masks = dict(
    # mmengine imports the module of a full name.
    type='lckd_mm.datasets.DigitMasks',
    data_root='data/digits_voc',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    # There are no flips, since a mirrored digit is not a digit.
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
)
train_set, val_set, test_set = (
    dict(masks, ann_file=f'ImageSets/Segmentation/{split}.txt') for split in ('train', 'val', 'test')
)
# Loading a batch takes 10 ms; worker processes would slow down the training on few cores.
loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
train_dataloader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=True), dataset=train_set)
val_dataloader = dict(loader, dataset=val_set)
test_dataloader = dict(loader, dataset=test_set)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=8)]
train_cfg = dict(max_epochs=8, val_interval=1)
# mmseg's runtime counts iterations; this one counts epochs.
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
data_help = 'generate the data set with `python tools/dataset_converters/make_demo_set.py`'
