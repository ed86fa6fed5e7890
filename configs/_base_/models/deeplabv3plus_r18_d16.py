# DeepLabV3+ for images of about 200 pixels and a CPU: ResNet-18 with output stride 16, from random weights; 11 classes.
_base_ = ['mmseg::_base_/models/deeplabv3plus_r50-d8.py']
model = dict(
    pretrained=None,
    backbone=dict(depth=18, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    # Dilations for feature maps of 10 to 15 positions; those of the base are for 64.
    decode_head=dict(num_classes=11, dilations=(1, 3, 6)),
    auxiliary_head=dict(num_classes=11),
)
