# 50 epochs of VOC 2012 + SBD (paper): 10,582 training images in batches of 16. Learning rate, weight decay and the
# polynomial schedule are mmseg's.
max_iters = 33000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
    # OFD's code for segmentation trains the adapters at 10 times the learning rate.
    paramwise_cfg=dict(custom_keys={'distiller.adapters': dict(lr_mult=10.0)}),
)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=3300)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3300),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
data_help = (
    'download VOCtrainval_11-May-2012 from the PASCAL VOC site and the SBD annotations, and convert the latter with '
    'tools/dataset_converters/voc_aug.py of mmsegmentation, so that data/VOCdevkit/VOC2012 contains SegmentationClassAug'
)
