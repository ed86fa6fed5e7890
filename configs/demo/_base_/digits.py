# The bundled multi-digit scenes for a detector, and 7 epochs from random weights.
_base_ = ['mmdet::_base_/default_runtime.py', '../../_base_/schedules/adamw_12e.py']
digits = dict(
    # mmdet's VOCDataset is the same with the classes and years of VOC.
    type='XMLDataset',
    data_root='data/digits_voc/',
    data_prefix=dict(sub_data_root=''),
    metainfo=dict(classes=('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')),
)
boxes = dict(type='LoadAnnotations', with_bbox=True)
# The size of the scenes. There are no flips, since a mirrored digit is not a digit.
resize = dict(type='Resize', scale=(160, 160), keep_ratio=True)
train_pipeline = [dict(type='LoadImageFromFile'), boxes, resize, dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    # After Resize, since boxes are evaluated on the original image.
    boxes,
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_set = dict(digits, ann_file='ImageSets/Main/train.txt', pipeline=train_pipeline)
test_set = dict(digits, ann_file='ImageSets/Main/test.txt', pipeline=test_pipeline, test_mode=True)
# Loading a batch takes 8 ms; worker processes would slow down the training on few cores.
loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
train_dataloader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=True), dataset=train_set)
val_dataloader = dict(loader, dataset=dict(test_set, ann_file='ImageSets/Main/val.txt'))
test_dataloader = dict(loader, dataset=test_set)
val_evaluator = dict(type='VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
# Measured: a learning rate of 4e-3 is better than 2e-3 for the student.
optim_wrapper = dict(clip_grad=dict(max_norm=10))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=7)]
train_cfg = dict(max_epochs=7, val_interval=1)
checkpoint = dict(max_keep_ckpts=1, save_best='pascal_voc/mAP', rule='greater')
default_hooks = dict(logger=dict(interval=20), checkpoint=checkpoint)
randomness = dict(seed=0)
data_help = 'generate the data set with `python tools/dataset_converters/make_demo_set.py`'
