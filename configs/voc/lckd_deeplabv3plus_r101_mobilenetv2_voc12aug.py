# DeepLabV3+ ResNet-101 teaches DeepLabV3+ MobileNetV2 on VOC 2012 + SBD, with OFD beside.
_base_ = './lckd_deeplabv3plus_r101_r18_voc12aug.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::voc/deeplabv3plus_mobilenetv2_voc12aug.py'),
    distiller=dict(
        # The last blocks at strides 4 and 8, and of the two dilated parts, as the head gets them; they end in a BN.
        student_taps=[
            'backbone.layer2',
            'backbone.layer3',
            'backbone.layer5',
            'backbone.layer7',
            'decode_head.bottleneck',
            'decode_head.c1_bottleneck',
        ],
    ),
)
