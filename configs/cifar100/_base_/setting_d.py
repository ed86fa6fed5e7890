# Setting (d): the weight is alpha / 200, and alpha is 1 at first and 2 from 60 % of the epochs on.
_base_ = './published.py'
distillation = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=1 / 200))))
distillation_hooks = dict(
    lipschitz_schedule=dict(
        type='mmrazor.LossWeightSchedulerHook',
        loss='loss_lipschitz',
        start_weight=1 / 200,
        end_weight=2 / 200,
        begin=0.6,
    )
)
