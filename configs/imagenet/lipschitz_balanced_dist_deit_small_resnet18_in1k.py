# A transformer without stages teaches a convolutional student: DeiT-S teaches ResNet-18 on ImageNet. PKD, in the block for classifiers,
# cannot compare a class token with maps; DIST compares class scores.
_base_ = ['./resnet18_in1k.py', '../_base_/distillers/lipschitz_balanced.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmpretrain::deit/deit-small_4xb256_in1k.py'),
    # mmpretrain's checkpoint: 80.69 % top-1 accuracy.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/deit/'
    'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
    distiller=dict(
        _base_.distillation.distiller,
        # All blocks have 14 x 14 patch tokens and a class token.
        teacher_taps=[f'backbone.layers.{i}' for i in (2, 5, 8, 11)],
        losses=dict(_base_.distillation.distiller.losses, dist=dict()),
        probe_size=(224, 224),
    ),
)
default_hooks = _base_.distillation_hooks
