# OFD for DeepLabV3+ on VOC: six layers, of which the stages of the backbone also have the Lipschitz loss.
_base_ = '../../_base_/distillers/lipschitz_ofd.py'
distillation = dict(
    distiller=dict(
        adapters=True,
        losses=dict(
            ofd=dict(
                mul_factor=1e5,
                divisors=(8, 4, 2, 1, 1, 16),
                # OFD's layers: the stages, the context module and the low-level features of the decoder.
                taps=[
                    *(f'backbone.layer{i}' for i in range(1, 5)),
                    'decode_head.bottleneck',
                    'decode_head.c1_bottleneck',
                ],
            )
        ),
    )
)
