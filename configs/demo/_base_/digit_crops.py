# Crops of the digits in the bundled scenes for a classifier, and 6 epochs from random weights.
_base_ = ['mmpretrain::_base_/default_runtime.py', '../../_base_/schedules/adamw_12e.py']
data_preprocessor = dict(num_classes=10, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crops = dict(type='CustomDataset', data_root='data/digits_voc/Crops')
# There are no flips, since a mirrored digit is not a digit.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=16, padding=1, padding_mode='reflect'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
# Loading a batch takes 10 ms; worker processes would slow down the training on few cores.
# mmpretrain's train.py has another default of `persistent_workers`.
no_workers = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    no_workers,
    batch_size=32,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(crops, data_prefix='train', pipeline=train_pipeline),
)
loader = dict(no_workers, batch_size=200, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(loader, dataset=dict(crops, data_prefix='val', pipeline=test_pipeline))
test_dataloader = dict(loader, dataset=dict(crops, data_prefix='test', pipeline=test_pipeline))
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=6)]
train_cfg = dict(max_epochs=6, val_interval=1)
auto_scale_lr = dict(base_batch_size=32)
checkpoint = dict(max_keep_ckpts=1, save_best='accuracy/top1', rule='greater')
default_hooks = dict(logger=dict(interval=35), checkpoint=checkpoint)
randomness = dict(seed=0)
data_help = 'generate the data set with `python tools/dataset_converters/make_demo_set.py`'
