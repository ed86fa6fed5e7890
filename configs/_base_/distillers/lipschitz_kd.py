# The Lipschitz loss together with soft targets (Hinton et al., arXiv 1503.02531); no feature maps are compared.
_base_ = './lipschitz.py'
# CRD (arXiv 1910.10699) uses 0.1 for the student's own classification loss, which its config sets.
distillation = dict(distiller=dict(losses=dict(kd=dict(tau=4.0, loss_weight=0.9))))
