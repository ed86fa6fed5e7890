"""RKD (CVPR 2019, arXiv 1904.05068): distances and angles between the images of a batch, on pooled maps."""

from .registry import Expansion, both, register_preset


@register_preset('rkd')
def rkd(distance_weight: float = 25.0, angle_weight: float = 50.0) -> Expansion:
    """Expand RKD. Weights 25 and 50: MMRazor's configs/distill/mmcls/rkd. Distances need no equal channel counts."""
    records = both('taps', 'student', 'teacher', adapt=False, connector='pool')
    losses = dict(
        distance=dict(
            type='TapwiseLoss',
            loss=dict(type='DistanceWiseRKD', loss_weight=1.0),
            loss_weight=distance_weight,
            # MMRazor's is NaN for one image.
            min_values=2,
        ),
        angle=dict(
            type='TapwiseLoss',
            loss=dict(type='AngleWiseRKD', loss_weight=1.0),
            loss_weight=angle_weight,
            min_values=2,
        ),
    )
    return Expansion(
        losses=losses,
        connectors=dict(pool=dict(type='GlobalPoolConnector')),
        records=dict(distance=records, angle=records),
    )
