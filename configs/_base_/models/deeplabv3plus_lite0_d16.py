# DeepLabV3+ on EfficientNet-Lite0 with ImageNet weights, output stride 16; 11 classes.
_base_ = './deeplabv3plus_r18_d16.py'
model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        _delete_=True,
        type='lckd_mm.models.EfficientNetLite',
        arch='lite0',
        out_indices=(1, 2, 3, 4),
        output_stride=16,
        # The published momentum, 0.01, is too slow for the statistics of a training of a few hundred iterations.
        norm_cfg=dict(type='BN', momentum=0.1),
        pretrained=True,
    ),
    decode_head=dict(in_channels=320, channels=32, c1_in_channels=24, c1_channels=16),
    auxiliary_head=dict(in_channels=112, channels=32),
)
