# The teacher: DeepLabV3+ on a ResNet-50, everything narrower, from random weights.
_base_ = ['mmseg::_base_/models/deeplabv3plus_r50-d8.py', './_base_/digit_masks.py']
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    pretrained=None,
    # Strides of 16 at the end: the digits are 20 to 45 pixels high.
    backbone=dict(base_channels=16, stem_channels=16, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    decode_head=dict(in_channels=512, channels=64, c1_in_channels=64, c1_channels=16, num_classes=11),
    auxiliary_head=dict(in_channels=256, channels=32, num_classes=11),
)
