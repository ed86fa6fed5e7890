# DeepLabV3+ ResNet-101 teaches DeepLabV3+ ResNet-18 on VOC 2012 + SBD, with OFD beside.
_base_ = [
    '../_base_/distillers/lckd_ofd_backbone.py',
    'mmseg::_base_/datasets/pascal_voc12_aug.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/voc12_50e.py',
]
model = dict(
    architecture=dict(cfg_path='lckd_mm::voc/deeplabv3plus_r18_voc12aug.py'),
    teacher=dict(cfg_path='lckd_mm::voc/deeplabv3plus_r101_voc12aug.py'),
    # mmsegmentation's own: 78.62 mIoU.
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/deeplabv3plus/'
    'deeplabv3plus_r101-d8_512x512_40k_voc12aug/deeplabv3plus_r101-d8_512x512_40k_voc12aug_20200613_205333-faf03387.pth',
    distiller=dict(
        # OFD's six: the stages, the context module and the low-level features of the decoder.
        taps=[
            'backbone.layer1',
            'backbone.layer2',
            'backbone.layer3',
            'backbone.layer4',
            'decode_head.bottleneck',
            'decode_head.c1_bottleneck',
        ],
        adapters=True,
        distill_losses=dict(loss_ofd=dict(mul_factor=1e5, divisors=(8, 4, 2, 1, 1, 16))),
        # The blocks of the backbone, as in the flagship.
        loss_forward_mappings=dict(
            loss_lipschitz=dict(
                student=dict(recorder=['tap0', 'tap1', 'tap2', 'tap3']),
                teacher=dict(recorder=['tap0', 'tap1', 'tap2', 'tap3']),
            )
        ),
    ),
)
train_dataloader = dict(batch_size=16)
