"""MGD (ECCV 2022, arXiv 2205.01529): generation of the teacher's maps from randomly masked maps of the student."""

from .registry import Expansion, both, register_preset


@register_preset('mgd')
def mgd(
    alpha_mgd: float = 0.00002,
    lambda_mgd: float = 0.65,
    mask_on_channel: bool = False,
    loss_weight: float = 1.0,
) -> Expansion:
    """Expand MGD. Defaults: MMRazor's configs/distill/mmdet/mgd. The generator aligns the channels, hence no adapters."""
    generator = dict(type='MGDConnector', lambda_mgd=lambda_mgd, mask_on_channel=mask_on_channel)
    records = both('taps', 'student', 'teacher', adapt=False)
    records['student']['connector'] = 'generators'
    loss = dict(type='TapwiseLoss', loss=dict(type='MGDLoss', alpha_mgd=alpha_mgd), loss_weight=loss_weight)
    connectors = dict(generators=dict(type='TapwiseConnector', connector=generator))
    return Expansion(losses={'': loss}, connectors=connectors, records={'': records})
