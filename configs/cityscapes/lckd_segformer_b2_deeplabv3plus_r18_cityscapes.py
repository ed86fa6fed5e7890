# A transformer teaches a convolutional student: SegFormer-B2 teaches DeepLabV3+ R18 on Cityscapes.
_base_ = ['./deeplabv3plus_r18_1024x1024_cityscapes.py', '../_base_/distillers/lckd_segmentation.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmseg::segformer/segformer_mit-b2_8xb1-160k_cityscapes-1024x1024.py'),
    # mmsegmentation's checkpoint: 81.08 mIoU.
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/segformer/segformer_mit-b2_8x1_1024x1024_160k_cityscapes/'
    'segformer_mit-b2_8x1_1024x1024_160k_cityscapes_20211207_134205-6096669a.pth',
    distiller=dict(
        _base_.distillation.distiller,
        # The norm at the end of each stage returns its tokens.
        teacher_taps=[f'backbone.layers.{i}.2' for i in range(4)],
    ),
)
default_hooks = _base_.distillation_hooks
