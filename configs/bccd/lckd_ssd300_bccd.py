# The Lipschitz term alone.
_base_ = ['../_base_/distillers/lckd_backbone.py', './_base_/ssd300_pair.py']
model = dict(distiller=_base_.stages, **_base_.pair)
