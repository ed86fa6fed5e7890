# The Lipschitz loss together with soft targets on CIFAR-10, kept at 10 % of the total loss.
_base_ = './kd_wrn16_2_wrn16_1_cifar10.py'
model = dict(distiller=dict(losses=dict(lipschitz=dict(loss_weight=0.5))))
default_hooks = dict(lipschitz_balance=dict(type='mmrazor.LipschitzBalanceHook', share=0.1))
