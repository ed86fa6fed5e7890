# A transformer teaches a convolutional student, on square crops; the student alone:
# mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py.
_base_ = [
    '../_base_/distillers/lckd_backbone.py',
    'mmseg::_base_/datasets/cityscapes_1024x1024.py',
    'mmseg::_base_/schedules/schedule_80k.py',
    'mmseg::_base_/default_runtime.py',
]
model = dict(
    architecture=dict(
        cfg_path='mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        cfg_options={'data_preprocessor.size': (1024, 1024)},
    ),
    teacher=dict(cfg_path='mmseg::segformer/segformer_mit-b2_8xb1-160k_cityscapes-1024x1024.py'),
    # mmsegmentation's own: 81.08 mIoU.
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/segformer/segformer_mit-b2_8x1_1024x1024_160k_cityscapes/'
    'segformer_mit-b2_8x1_1024x1024_160k_cityscapes_20211207_134205-6096669a.pth',
    # The norm that ends each stage puts out its tokens.
    distiller=dict(teacher_taps=[f'backbone.layers.{i}.2' for i in range(4)]),
)
data_help = (
    'get Cityscapes, convert its labels with mmsegmentation, and put leftImg8bit and gtFine into data/cityscapes'
)
