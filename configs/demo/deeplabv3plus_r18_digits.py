# The student alone.
_base_ = './deeplabv3plus_r50_digits.py'
model = dict(
    backbone=dict(depth=18, base_channels=8, stem_channels=8),
    decode_head=dict(in_channels=64, channels=32, c1_in_channels=8, c1_channels=8),
    auxiliary_head=dict(in_channels=32, channels=16),
)
