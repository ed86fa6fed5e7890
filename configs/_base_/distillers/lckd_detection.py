# The recommended block for detectors. In the screening on BCCD (docs/results.md), raw taps were better than adapted ones. It contains no
# second loss, since no gain of one on clean images could be shown there.
_base_ = './lipschitz_balanced.py'
distillation = dict(distiller=dict(losses=dict(lipschitz=dict(adapt=False))))
