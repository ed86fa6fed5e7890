# CIFAR-100 with the authors' pixel statistics and augmentation.
_base_ = ['mmpretrain::_base_/datasets/cifar100_bs16.py']
data_preprocessor = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4, padding_mode='reflect'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]
    ),
)
val_dataloader = dict(batch_size=128)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
