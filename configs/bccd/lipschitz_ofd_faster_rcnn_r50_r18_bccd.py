# The Lipschitz loss together with OFD on BCCD.
_base_ = './lipschitz_faster_rcnn_r50_r18_bccd.py'
# OFD's divisor for ImageNet, as for SSD300.
model = dict(distiller=dict(losses=dict(ofd=dict(mul_factor=10000.0))))
