# Setting (b) of the paper on ImageNet: ResNet-50 teaches MobileNet v1.
_base_ = ['./mobilenet_v1_in1k.py', './_base_/published.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::imagenet/resnet50_in1k.py'),
    # mmpretrain's checkpoint: 23.45 % top-1 error, 6.94 % top-5 error.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
    distiller=dict(
        _base_.distillation.distiller,
        # The BNs before the last ReLUs with 128, 256, 512 and 1024 channels.
        student_taps=['backbone.layer2', 'backbone.layer3', 'backbone.layer4', 'backbone.layer5'],
    ),
)
default_hooks = _base_.distillation_hooks
