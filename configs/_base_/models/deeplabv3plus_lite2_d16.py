# DeepLabV3+ on EfficientNet-Lite2, with a wider head than the one on Lite0.
_base_ = './deeplabv3plus_lite0_d16.py'
model = dict(
    backbone=dict(arch='lite2'),
    decode_head=dict(in_channels=352, channels=128),
    auxiliary_head=dict(in_channels=120),
)
