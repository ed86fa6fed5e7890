# Setting (a), depth: WRN-28-4 teaches WRN-16-4.
_base_ = [
    '../_base_/distillers/lckd_published.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    architecture=dict(cfg_path='lckd_mm::cifar100/wrn16_4_cifar100.py'),
    teacher=dict(cfg_path='lckd_mm::cifar100/wrn28_4_cifar100.py'),
    teacher_ckpt='work_dirs/wrn28_4_cifar100/epoch_200.pth',
    distiller=dict(
        taps=['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn1'],
        probe_size=(32, 32),
        # alpha / 200, alpha 0.8 and from 60 % of the epochs on 0.2.
        distill_losses=dict(loss_lipschitz=dict(loss_weight=0.8 / 200)),
    ),
)
custom_hooks = [
    dict(type='mmrazor.LipschitzMonitorHook', interval=50),
    dict(
        type='mmrazor.LossWeightSchedulerHook',
        loss='loss_lipschitz',
        start_weight=0.8 / 200,
        end_weight=0.2 / 200,
        begin=0.6,
    ),
]
