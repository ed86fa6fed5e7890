"""LCKD (ICCV 2021): distance between the spectral norms of the blocks between consecutive taps."""

from .registry import Expansion, both, register_preset


@register_preset('lipschitz')
def lipschitz(
    method: str = 'lanczos',
    num_iters: int = 5,
    loss_weight: float = 0.5,
    decay: float = 0.5,
    distance: str = 'log',
    adapt: bool = True,
) -> Expansion:
    """Expand the Lipschitz loss.

    With ``adapt=False`` it reads the student's taps without their adapters: spectral norms need no equal channel counts, and
    adapters cost time (docs/performance.md).

    Five products and the decay of 0.5 are published; the distance and its weight were measured (docs/experiments.md).
    """
    records = both('taps', 'student', 'teacher', connector='norms')
    if not adapt:
        records['student']['adapt'] = False
    return Expansion(
        losses={'': dict(type='LipschitzLoss', loss_weight=loss_weight, decay=decay, distance=distance)},
        connectors=dict(norms=dict(type='SpectralNormConnector', method=method, num_iters=num_iters)),
        records={'': records},
    )
