# OFD on CamVid. A Lipschitz loss of weight 0 logs the spectral norms.
_base_ = './lipschitz_ofd_deeplabv3plus_r18w32_r18w8_camvid.py'
model = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.0))))
