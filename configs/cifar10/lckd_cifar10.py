# The Lipschitz term alone.
_base_ = ['../_base_/distillers/lckd_backbone.py', './_base_/comparison.py']
model = dict(distiller=_base_.wrn_distiller, **_base_.pair)
