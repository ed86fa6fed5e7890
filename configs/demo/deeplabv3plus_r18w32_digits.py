# The teacher.
_base_ = ['../_base_/models/deeplabv3plus_r18_d16.py', './_base_/digit_masks.py']
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=dict(base_channels=32, stem_channels=32),
    decode_head=dict(num_classes=2, in_channels=256, channels=64, c1_in_channels=32, c1_channels=16),
    auxiliary_head=dict(num_classes=2, in_channels=128, channels=32),
)
