# OFD with the Lipschitz term beside it, at a quarter of what pulls at the student.
_base_ = ['../_base_/distillers/lckd_ofd_balanced.py', './_base_/pair.py']
model = dict(distiller=dict(probe_size=_base_.probe_size), **_base_.pair)
