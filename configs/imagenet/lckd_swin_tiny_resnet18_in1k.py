# A transformer teaches a convolutional student: Swin-T teaches ResNet-18 on ImageNet.
_base_ = ['./resnet18_in1k.py', '../_base_/distillers/lckd_classification.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'),
    # mmpretrain's checkpoint: 81.18 % top-1 accuracy.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/swin-transformer/'
    'swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth',
    distiller=dict(
        _base_.distillation.distiller,
        # A stage returns its tokens and their height and width.
        teacher_taps=[dict(source=f'backbone.stages.{i}', data_idx=0) for i in range(4)],
        probe_size=(224, 224),
    ),
)
default_hooks = _base_.distillation_hooks
