# The Lipschitz loss, kept at a tenth of the gradient norm at the student. With a fixed weight, its gradient is 0.02 to 25 times the
# task's, depending on the models; from 1 on, it does harm (docs/experiments.md).
_base_ = './lipschitz.py'
distillation_hooks = dict(
    lipschitz_balance=dict(type='mmrazor.LipschitzBalanceHook', measure='gradient', share=0.1),
)
