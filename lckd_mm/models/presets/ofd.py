"""OFD (ICCV 2019, arXiv 1904.01866): partial distance of maps before the ReLU."""

from collections.abc import Sequence

from .registry import Expansion, both, register_preset


@register_preset('ofd')
def ofd(
    loss_weight: float = 1.0,
    mul_factor: float = 1000.0,
    decay: float = 0.5,
    divisors: Sequence[float] | None = None,
) -> Expansion:
    """Expand OFD. Published divisors: 1000 for CIFAR, 10000 for ImageNet, 1e5 for segmentation."""
    loss = dict(type='OverhaulLoss', loss_weight=loss_weight, mul_factor=mul_factor, decay=decay, divisors=divisors)
    records = both('taps', 'student', 'teacher')
    records['teacher']['connector'] = 'margins'
    return Expansion(losses={'': loss}, connectors=dict(margins=dict(type='MarginConnector')), records={'': records})
