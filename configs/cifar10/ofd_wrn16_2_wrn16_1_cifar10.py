# OFD on CIFAR-10. A Lipschitz loss of weight 0 logs the spectral norms.
_base_ = './lipschitz_wrn16_2_wrn16_1_cifar10.py'
model = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.0), ofd=dict(mul_factor=1000.0))))
