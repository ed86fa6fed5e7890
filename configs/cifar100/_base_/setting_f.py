# Setting (f): the weight is alpha / 200, and alpha is 1.
_base_ = './published.py'
distillation = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=1 / 200))))
