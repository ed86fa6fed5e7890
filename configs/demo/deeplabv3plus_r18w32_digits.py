# Teacher of the segmentation demonstration: DeepLabV3+ R18 with 32 channels.
_base_ = ['../_base_/models/deeplabv3plus_r18w32.py', './_base_/digit_masks.py']
model = dict(
    data_preprocessor=dict(size=(160, 160)), decode_head=dict(num_classes=2), auxiliary_head=dict(num_classes=2)
)
