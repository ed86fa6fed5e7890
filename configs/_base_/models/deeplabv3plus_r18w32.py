# DeepLabV3+ on a ResNet-18 with 32 instead of 64 channels.
_base_ = './deeplabv3plus_r18_d16.py'
model = dict(
    backbone=dict(base_channels=32, stem_channels=32),
    decode_head=dict(in_channels=256, channels=64, c1_in_channels=32, c1_channels=16),
    auxiliary_head=dict(in_channels=128, channels=32),
)
