# LCKD with OFD's feature loss beside it, on the same taps and through the same adapters (paper, section 3.4).
_base_ = './lckd_backbone.py'
model = dict(
    distiller=dict(
        connectors=dict(margins=dict(type='MarginConnector')),
        distill_losses=dict(loss_ofd=dict(type='OverhaulLoss', mul_factor=1000.0)),
        loss_forward_mappings=dict(
            loss_ofd=dict(
                student=dict(from_student=True, recorder='taps'),
                teacher=dict(from_student=False, recorder='taps', connector='margins'),
            )
        ),
    )
)
