# Setting (d), architecture: WRN-28-4 teaches ResNet-56.
_base_ = './lckd_c_wrn28_4_wrn16_2_cifar100.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::cifar100/resnet56_cifar100.py'),
    distiller=dict(
        student_taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
        # alpha / 200, alpha 1 and from 60 % of the epochs on 2.
        distill_losses=dict(loss_lipschitz=dict(loss_weight=1 / 200)),
    ),
)
custom_hooks = [
    dict(type='mmrazor.LipschitzMonitorHook', interval=50),
    dict(
        type='mmrazor.LossWeightSchedulerHook',
        loss='loss_lipschitz',
        start_weight=1 / 200,
        end_weight=2 / 200,
        begin=0.6,
    ),
]
