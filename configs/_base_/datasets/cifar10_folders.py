# CIFAR-10 as one folder of images per class, with the authors' pixel statistics and augmentation. A tenth of the
# training images is the validation set; the images of `val` are the test set.
data_preprocessor = dict(num_classes=10, mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7], to_rgb=True)
cifar10 = dict(type='CustomDataset', data_root='data/cifar10')
folds = dict(type='KFoldDataset', fold=0, num_splits=10, seed=0)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4, padding_mode='reflect'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    # mmpretrain's train.py has another default.
    persistent_workers=False,
    drop_last=True,
    dataset=dict(folds, dataset=dict(cifar10, data_prefix='train', pipeline=train_pipeline)),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(folds, dataset=dict(cifar10, data_prefix='train', pipeline=test_pipeline), test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(val_dataloader, dataset=dict(cifar10, data_prefix='val', pipeline=test_pipeline))
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
data_help = 'unpack CIFAR-10 as folders train/<class>/*.jpg and val/<class>/*.jpg into data/cifar10'
