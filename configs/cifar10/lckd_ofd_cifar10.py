# OFD with the Lipschitz term beside it, at a quarter of what pulls at the student.
_base_ = ['../_base_/distillers/lckd_ofd_balanced.py', './_base_/comparison.py']
model = dict(distiller=_base_.wrn_distiller, **_base_.pair)
