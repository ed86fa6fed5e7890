# A transformer without stages teaches a convolutional student: DeiT-S teaches ResNet-18 on ImageNet.
_base_ = './lckd_swin_tiny_resnet18_in1k.py'
model = dict(
    teacher=dict(cfg_path='mmpretrain::deit/deit-small_4xb256_in1k.py'),
    # mmpretrain's checkpoint: 80.69 % top-1 accuracy.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/deit/'
    'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
    distiller=dict(
        # All blocks have 14 x 14 patch tokens and a class token, which PKD cannot compare with maps.
        teacher_taps=[f'backbone.layers.{i}' for i in (2, 5, 8, 11)],
        losses=dict(pkd=None, dist=dict()),
    ),
)
