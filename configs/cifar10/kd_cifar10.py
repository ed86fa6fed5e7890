# Soft targets.
_base_ = ['../_base_/distillers/kd_logits.py', './_base_/comparison.py']
model = dict(distiller=dict(probe_size=(32, 32)), **_base_.pair)
model['architecture']['cfg_options'] = {'head.loss': dict(type='CrossEntropyLoss', loss_weight=0.1)}
