"""CWD (ICCV 2021, arXiv 2011.13256): divergence of the spatial distributions of each channel."""

from .registry import Expansion, both, register_preset


@register_preset('cwd')
def cwd(tau: float = 1.0, loss_weight: float = 5.0) -> Expansion:
    """Expand CWD. Temperature 1 and weight 5: MMRazor's configs/distill/mmseg/cwd; on a detector's neck it uses 10."""
    loss = dict(type='ChannelWiseDivergence', tau=tau)
    tapwise = dict(type='TapwiseLoss', loss=loss, loss_weight=loss_weight)
    return Expansion(losses={'': tapwise}, records={'': both('taps', 'student', 'teacher')})
