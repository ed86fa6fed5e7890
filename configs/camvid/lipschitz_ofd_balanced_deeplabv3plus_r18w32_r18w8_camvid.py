# The Lipschitz loss together with OFD on CamVid; it contributes a quarter of the gradient norm at the student.
_base_ = './lipschitz_ofd_deeplabv3plus_r18w32_r18w8_camvid.py'
default_hooks = dict(lipschitz_balance=dict(type='mmrazor.LipschitzBalanceHook', measure='gradient', share=0.25))
