# The authors' settings for ImageNet.
_base_ = '../../_base_/distillers/published.py'
distillation = dict(
    distiller=dict(
        losses=dict(
            # The authors divide the weight of 2000 by the batch size and by 10000.
            lipschitz=dict(num_iters=5, loss_weight=2000 / (96 * 10000)),
            ofd=dict(mul_factor=10000.0),
        )
    )
)
distillation_hooks = dict(lipschitz_monitor=dict(interval=100))
