# OFD alone; a Lipschitz term of weight 0 has its norms logged.
_base_ = './lckd_ofd_fixed_camvid.py'
model = dict(distiller=dict(distill_losses=dict(loss_lipschitz=dict(loss_weight=0.0))))
