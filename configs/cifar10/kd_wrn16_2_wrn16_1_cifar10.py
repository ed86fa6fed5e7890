# Soft targets on CIFAR-10. A Lipschitz loss of weight 0 logs the spectral norms.
_base_ = './lipschitz_wrn16_2_wrn16_1_cifar10.py'
# CRD (arXiv 1910.10699): temperature 4, weight 0.9, and 0.1 for the student's classification loss.
model = dict(
    architecture=dict(head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=0.1))),
    distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.0), kd=dict(tau=4.0, loss_weight=0.9))),
)
