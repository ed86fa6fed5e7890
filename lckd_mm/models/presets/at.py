"""AT (ICLR 2017, arXiv 1612.03928): distance of attention maps, the channel means of the squared features."""

from .registry import Expansion, both, register_preset


@register_preset('at')
def at(loss_weight: float = 1000.0) -> Expansion:
    """Expand AT. Weight 1000: the authors' code. Attention maps need no equal channel counts, hence no adapters."""
    tapwise = dict(type='TapwiseLoss', loss=dict(type='ATLoss'), loss_weight=loss_weight)
    return Expansion(losses={'': tapwise}, records={'': both('taps', 'student', 'teacher', adapt=False)})
