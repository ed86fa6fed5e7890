# OFD with the Lipschitz term beside it; the lines of lckd_ofd_backbone.py over the demonstration's chain of bases.
_base_ = './lckd_faster_rcnn_bccd.py'
model = dict(
    distiller=dict(
        connectors=dict(margins=dict(type='MarginConnector')),
        # The authors' divisor for ImageNet, as with SSD.
        distill_losses=dict(loss_ofd=dict(type='OverhaulLoss', mul_factor=10000.0)),
        loss_forward_mappings=dict(
            loss_ofd=dict(
                student=dict(from_student=True, recorder='taps'),
                teacher=dict(from_student=False, recorder='taps', connector='margins'),
            )
        ),
    )
)
