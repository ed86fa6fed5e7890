# The Lipschitz loss, kept at a tenth of the gradient norm at the student.
_base_ = './lipschitz.py'
distillation_hooks = dict(
    lipschitz_balance=dict(type='mmrazor.LipschitzBalanceHook', measure='gradient', share=0.1),
)
