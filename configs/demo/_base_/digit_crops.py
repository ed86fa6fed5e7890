# Crops of the bundled set's digits, to be classified, and a short schedule from random weights.
_base_ = ['mmpretrain::_base_/default_runtime.py']
data_preprocessor = dict(num_classes=10, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crops = dict(type='CustomDataset', data_root='data/digits_voc/Crops')
# A batch is read in 10 ms, and worker processes would take the cores from the training.
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        data_prefix='train',
        # No flips: a mirrored digit is no digit.
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomCrop', crop_size=16, padding=1, padding_mode='reflect'),
            dict(type='PackInputs'),
        ],
        **crops,
    ),
)
val_dataloader = dict(
    batch_size=200,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data_prefix='val', pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')], **crops),
)
test_dataloader = dict(
    batch_size=200,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data_prefix='test', pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')], **crops),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
data_help = 'make the set with `python tools/dataset_converters/make_demo_set.py`'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, begin=1, end=6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=32)
default_hooks = dict(
    logger=dict(interval=35), checkpoint=dict(max_keep_ckpts=1, save_best='accuracy/top1', rule='greater')
)
randomness = dict(seed=0)
