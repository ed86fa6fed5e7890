# Setting (b): ResNet-50 teaches MobileNet v1.
_base_ = './lckd_a_resnet152_resnet50_in1k.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::imagenet/mobilenet_v1_in1k.py'),
    teacher=dict(cfg_path='lckd_mm::imagenet/resnet50_in1k.py'),
    # mmpretrain's own: 23.45 / 6.94 % top-1 / top-5 error.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
    # The BNs before the last ReLUs at 128, 256, 512 and 1024 channels.
    distiller=dict(student_taps=['backbone.layer2', 'backbone.layer3', 'backbone.layer4', 'backbone.layer5']),
)
