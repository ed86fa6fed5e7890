# Setting (a) of the paper on ImageNet: ResNet-152 teaches ResNet-50.
_base_ = ['./resnet50_in1k.py', './_base_/published.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::imagenet/resnet152_in1k.py'),
    # mmpretrain's checkpoint: 21.52 % top-1 error, 5.87 % top-5 error.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet152_8xb32_in1k_20210901-4d7582fa.pth',
    **_base_.distillation,
)
default_hooks = _base_.distillation_hooks
