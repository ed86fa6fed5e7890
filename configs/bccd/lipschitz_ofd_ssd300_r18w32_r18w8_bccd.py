# The Lipschitz loss together with OFD on BCCD.
_base_ = './lipschitz_ssd300_r18w32_r18w8_bccd.py'
# OFD's divisor for ImageNet makes its first loss as large as the detector's own (measured: 18 and 14).
model = dict(distiller=dict(losses=dict(ofd=dict(mul_factor=10000.0))))
