# What the demonstration changes in a config of configs/voc: the bundled set of multi-digit scenes and a short schedule from
# random weights. Each part replaces the key of its name.
dataset = dict(
    # mmdet's VOCDataset is the same with VOC's own classes and years.
    type='XMLDataset',
    data_root='data/digits_voc/',
    data_prefix=dict(sub_data_root=''),
    metainfo=dict(classes=('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')),
)
# The size the scenes have. No flips: a mirrored digit is no digit.
resize = dict(type='Resize', scale=(160, 160), keep_ratio=True)
boxes = dict(type='LoadAnnotations', with_bbox=True)
digits_train_pipeline = [dict(type='LoadImageFromFile'), boxes, resize, dict(type='PackDetInputs')]
digits_test_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    # After Resize: boxes are evaluated on the original image.
    boxes,
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# A batch is read in 8 ms, and worker processes would take the cores from the training.
loader = dict(_delete_=True, batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
evaluation = dict(test_mode=True, pipeline=digits_test_pipeline, **dataset)

digits_epochs = 7
digits = dict(
    train_dataloader=dict(
        loader,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(ann_file='ImageSets/Main/train.txt', pipeline=digits_train_pipeline, **dataset),
    ),
    val_dataloader=dict(loader, dataset=dict(ann_file='ImageSets/Main/val.txt', **evaluation)),
    test_dataloader=dict(loader, dataset=dict(ann_file='ImageSets/Main/test.txt', **evaluation)),
    evaluator=dict(type='VOCMetric', metric='mAP', eval_mode='area'),
    # Few epochs from random weights: an optimizer that needs no search for its rate, and 4e-3 beat 2e-3 for the student.
    optim_wrapper=dict(
        _delete_=True,
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.02),
        clip_grad=dict(max_norm=10),
    ),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.04, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
        dict(
            type='CosineAnnealingLR', eta_min=0, begin=1, end=digits_epochs, by_epoch=True, convert_to_iter_based=True
        ),
    ],
    default_hooks=dict(
        logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1, save_best='pascal_voc/mAP', rule='greater')
    ),
    data_help='make the set with `python tools/dataset_converters/make_demo_set.py`',
)
