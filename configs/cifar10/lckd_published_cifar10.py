# The authors' settings for CIFAR, of their setting (a).
_base_ = ['../_base_/distillers/lckd_published.py', './_base_/comparison.py']
model = dict(distiller=_base_.wrn_distiller, **_base_.pair)
model['distiller']['distill_losses'] = dict(loss_lipschitz=dict(loss_weight=0.8 / 200))
custom_hooks = [
    dict(type='mmrazor.LipschitzMonitorHook', interval=10),
    dict(
        type='mmrazor.LossWeightSchedulerHook',
        loss='loss_lipschitz',
        start_weight=0.8 / 200,
        end_weight=0.2 / 200,
        begin=0.6,
    ),
]
