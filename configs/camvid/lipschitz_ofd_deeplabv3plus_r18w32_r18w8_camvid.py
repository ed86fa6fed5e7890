# The Lipschitz loss together with OFD on CamVid.
_base_ = './lipschitz_deeplabv3plus_r18w32_r18w8_camvid.py'
model = dict(distiller=dict(losses=dict(ofd=dict(mul_factor=1000.0))))
