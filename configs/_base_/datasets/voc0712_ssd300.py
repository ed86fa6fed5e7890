# VOC 07+12 for SSD: the data of mmdet's ssd300_voc0712, for a backbone with torchvision's pixel statistics.
_base_ = ['mmdet::_base_/datasets/voc0712.py']
resize = dict(type='Resize', scale=(300, 300), keep_ratio=False)
distortion = dict(brightness_delta=32, contrast_range=(0.5, 1.5), saturation_range=(0.5, 1.5), hue_delta=18)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Expand', mean=[123.675, 116.28, 103.53], to_rgb=True, ratio_range=(1, 4)),
    dict(type='MinIoURandomCrop', min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', **distortion),
    dict(type='PackDetInputs'),
]
# Annotations are loaded after Resize, since boxes are evaluated on the original image.
test_pipeline = [dict(type='LoadImageFromFile'), resize, *_base_.test_pipeline[2:]]
voc = dict(
    type='VOCDataset',
    data_root='data/VOCdevkit/',
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=train_pipeline,
)
datasets = [
    dict(ann_file=f'VOC{year}/ImageSets/Main/trainval.txt', data_prefix=dict(sub_data_root=f'VOC{year}/'), **voc)
    for year in (2007, 2012)
]
# 24 epochs of 10 repetitions are the 240 of mmdet's SSD.
train_dataloader = dict(batch_size=32, num_workers=4, dataset=dict(times=10, dataset=dict(datasets=datasets)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
data_help = (
    'download VOCtrainval_06-Nov-2007, VOCtest_06-Nov-2007 and VOCtrainval_11-May-2012 from the PASCAL VOC site and unpack '
    'them, so that data/VOCdevkit contains VOC2007 and VOC2012'
)
