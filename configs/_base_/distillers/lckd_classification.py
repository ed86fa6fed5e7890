# The recommended block for classifiers. On CIFAR-10, OFD and PKD were the best of five companions, and equal (docs/results.md); PKD needs
# no divisor that depends on the size of the images, and no BN before each tap. Weight, share and raw taps are those of the screening.
_base_ = './lipschitz_balanced.py'
distillation = dict(distiller=dict(losses=dict(lipschitz=dict(adapt=False), pkd=dict(loss_weight=18.0))))
distillation_hooks = dict(lipschitz_balance=dict(share=0.25))
