# The student alone.
_base_ = ['../_base_/models/deeplabv3plus_r18_d16.py', './_base_/digit_masks.py']
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=dict(base_channels=8, stem_channels=8),
    decode_head=dict(num_classes=2, in_channels=64, channels=32, c1_in_channels=8, c1_channels=8),
    auxiliary_head=dict(num_classes=2, in_channels=32, channels=16),
)
