# CWD on normalized maps of the neck of RTMDet on COCO. A Lipschitz loss of weight 0 logs the spectral norms.
_base_ = './lipschitz_balanced_cwd_rtmdet_s_tiny_coco.py'
model = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.0))))
default_hooks = dict(lipschitz_balance=None)
