# Student of setting (a), teacher of (b), in the authors' schedule.
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    'mmpretrain::_base_/datasets/imagenet_bs64.py',
    '../_base_/schedules/imagenet_100e.py',
    'mmpretrain::_base_/default_runtime.py',
]
# Published: 96 images a batch over all GPUs.
train_dataloader = dict(batch_size=96)
