# DeepLabV3+ on a ResNet-18 with 8 instead of 64 channels.
_base_ = './deeplabv3plus_r18_d16.py'
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    decode_head=dict(in_channels=64, channels=32, c1_in_channels=8, c1_channels=8),
    auxiliary_head=dict(in_channels=32, channels=16),
)
