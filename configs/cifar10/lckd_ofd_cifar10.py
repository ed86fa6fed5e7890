# OFD with the Lipschitz term beside it.
_base_ = ['../_base_/distillers/lckd_ofd_backbone.py', './_base_/comparison.py']
model = dict(distiller=_base_.wrn_distiller, **_base_.pair)
# Half of what the paper warns of, whatever the size of the other losses.
custom_hooks = [
    dict(type='mmrazor.LipschitzMonitorHook', interval=10),
    dict(type='mmrazor.LipschitzBalanceHook', share=0.1),
]
