# Setting (e): the weight is alpha / 200, and alpha is 4.
_base_ = './published.py'
distillation = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=4 / 200))))
