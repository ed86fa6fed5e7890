# The Lipschitz loss together with OFD on CIFAR-10; it contributes a quarter of the gradient norm at the student.
_base_ = './ofd_wrn16_2_wrn16_1_cifar10.py'
model = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.5))))
default_hooks = dict(lipschitz_balance=dict(type='mmrazor.LipschitzBalanceHook', measure='gradient', share=0.25))
