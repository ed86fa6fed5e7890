# OFD on BCCD. A Lipschitz loss of weight 0 logs the spectral norms.
_base_ = './lipschitz_ofd_faster_rcnn_r50_r18_bccd.py'
model = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.0))))
