# Student without distillation on Cityscapes: mmseg's DeepLabV3+ R18 on the square crops that SegFormer is trained on.
_base_ = 'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py'
crop_size = (1024, 1024)
data_preprocessor = dict(size=crop_size)
model = dict(data_preprocessor=dict(size=crop_size))
train_pipeline = [
    dict(step, crop_size=crop_size) if step['type'] == 'RandomCrop' else step for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
data_help = (
    'download Cityscapes, convert its labels with mmsegmentation, and put leftImg8bit and gtFine into data/cityscapes'
)
