# ImageNet-1k. Published: 96 images per batch over all GPUs.
_base_ = ['mmpretrain::_base_/datasets/imagenet_bs64.py']
train_dataloader = dict(batch_size=96)
data_help = 'download ImageNet-1k and put its folders train and val, with one folder per class, into data/imagenet'
