"""FitNets (ICLR 2015, arXiv 1412.6550): squared distance of maps."""

from .registry import Expansion, both, register_preset


@register_preset('fitnet')
def fitnet(loss_weight: float = 10.0, normalize: bool = True) -> Expansion:
    """Expand FitNets. Weight 10 on normalized maps: MMRazor's configs/distill/mmcls/fitnets."""
    tapwise = dict(type='TapwiseLoss', loss=dict(type='L2Loss', normalize=normalize), loss_weight=loss_weight)
    return Expansion(losses={'': tapwise}, records={'': both('taps', 'student', 'teacher')})
