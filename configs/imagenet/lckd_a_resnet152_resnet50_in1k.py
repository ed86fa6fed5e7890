# Setting (a): ResNet-152 teaches ResNet-50, each tapped before the last ReLU of its four stages.
_base_ = [
    '../_base_/distillers/lckd_published.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='lckd_mm::imagenet/resnet50_in1k.py'),
    teacher=dict(cfg_path='lckd_mm::imagenet/resnet152_in1k.py'),
    # mmpretrain's own: 21.52 / 5.87 % top-1 / top-5 error.
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet152_8xb32_in1k_20210901-4d7582fa.pth',
    distiller=dict(
        connectors=dict(spectral_norms=dict(n_iters=5)),
        # The sum is divided by the batch of 96 and by 10000.
        distill_losses=dict(loss_ofd=dict(mul_factor=10000.0), loss_lipschitz=dict(loss_weight=2000 / (96 * 10000))),
    ),
)
custom_hooks = [dict(type='mmrazor.LipschitzMonitorHook', interval=100)]
