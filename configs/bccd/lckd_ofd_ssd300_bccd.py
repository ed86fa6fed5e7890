# OFD with the Lipschitz term beside it.
_base_ = ['../_base_/distillers/lckd_ofd_backbone.py', './_base_/ssd300_pair.py']
model = dict(distiller=_base_.stages, **_base_.pair)
# The authors' divisor for ImageNet: at first the feature loss is then as large as the detector's own (measured: 18 and 14).
model['distiller']['distill_losses'] = dict(loss_ofd=dict(mul_factor=10000.0))
