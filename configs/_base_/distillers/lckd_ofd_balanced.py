# LCKD with OFD's feature loss beside it, the Lipschitz term held at a quarter of what pulls at the student, however large the
# other losses are: of what was tried it alone beats OFD with every seed, on road scenes (docs/benchmarks.md).
_base_ = './lckd_ofd_backbone.py'
custom_hooks = [
    dict(type='mmrazor.LipschitzMonitorHook', interval=10),
    dict(type='mmrazor.LipschitzBalanceHook', of='gradient', share=0.25),
]
