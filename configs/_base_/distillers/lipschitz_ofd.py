# The Lipschitz loss together with OFD's feature loss, on the same taps and adapters (paper, section 3.4).
_base_ = './lipschitz.py'
# OFD's divisor for CIFAR; 10000 is published for ImageNet and 1e5 for segmentation.
distillation = dict(distiller=dict(losses=dict(ofd=dict(mul_factor=1000.0))))
