# OFD with the Lipschitz term beside it, of a fixed weight.
_base_ = ['../_base_/distillers/lckd_ofd_backbone.py', './_base_/pair.py']
model = dict(distiller=dict(probe_size=_base_.probe_size), **_base_.pair)
