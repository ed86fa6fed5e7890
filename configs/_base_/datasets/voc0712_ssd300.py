# VOC 07+12 as SSD is trained on it: mmdet's ssd300_voc0712, for a backbone with torchvision's pixel statistics.
_base_ = ['mmdet::_base_/datasets/voc0712.py']
size = (300, 300)
ssd_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Expand', mean=[123.675, 116.28, 103.53], to_rgb=True, ratio_range=(1, 4)),
    dict(type='MinIoURandomCrop', min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type='Resize', scale=size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
    dict(type='PackDetInputs'),
]
ssd_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size, keep_ratio=False),
    # After Resize: boxes are evaluated on the original image.
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
voc = dict(
    type='VOCDataset',
    data_root='data/VOCdevkit/',
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=ssd_train_pipeline,
)
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    dataset=dict(
        # 24 epochs of 10 are 240 (mmdet's SSD).
        times=10,
        dataset=dict(
            datasets=[
                dict(ann_file=f'VOC{y}/ImageSets/Main/trainval.txt', data_prefix=dict(sub_data_root=f'VOC{y}/'), **voc)
                for y in (2007, 2012)
            ]
        ),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=ssd_test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=ssd_test_pipeline))
data_help = (
    'get VOCtrainval_06-Nov-2007, VOCtest_06-Nov-2007 and VOCtrainval_11-May-2012 from the PASCAL VOC site and unpack them, '
    'so that data/VOCdevkit holds VOC2007 and VOC2012'
)
