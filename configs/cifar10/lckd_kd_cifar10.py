# Soft targets with the Lipschitz term beside them.
_base_ = ['../_base_/distillers/lckd_kd_logits.py', './_base_/comparison.py']
model = dict(distiller=_base_.wrn_distiller, **_base_.pair)
model['architecture']['cfg_options'] = {'head.loss': dict(type='CrossEntropyLoss', loss_weight=0.1)}
custom_hooks = [
    dict(type='mmrazor.LipschitzMonitorHook', interval=10),
    dict(type='mmrazor.LipschitzBalanceHook', share=0.1),
]
