_base_ = ['mmpretrain::_base_/datasets/imagenet_bs64.py']
# Published: 96 images a batch over all GPUs.
train_dataloader = dict(batch_size=96)
data_help = 'get ImageNet-1k and put its folders train and val, with a folder for each class, into data/imagenet'
