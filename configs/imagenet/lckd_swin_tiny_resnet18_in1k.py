# A transformer teaches a convolutional student: Swin-T teaches ResNet-18 by the Lipschitz term, taken from the teacher's tokens
# and the student's maps alike.
_base_ = [
    '../_base_/distillers/lckd_backbone.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py'),
    teacher=dict(cfg_path='mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'),
    # mmpretrain's own: 81.18 % top-1.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/swin-transformer/'
    'swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth',
    distiller=dict(
        # A stage puts out its tokens and their height and width.
        teacher_taps=[dict(source=f'backbone.stages.{i}', data_idx=0) for i in range(4)],
        probe_size=(224, 224),
    ),
)
