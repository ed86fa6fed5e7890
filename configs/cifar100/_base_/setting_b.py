# Setting (b): the weight is alpha / 200, and alpha is 0.2.
_base_ = './published.py'
distillation = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.2 / 200))))
