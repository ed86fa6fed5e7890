"""KD (Hinton et al., arXiv 1503.02531): Kullback-Leibler divergence of softened class probabilities."""

from .registry import Expansion, both, register_preset


@register_preset('kd', reads='logits')
def kd(tau: float = 4.0, loss_weight: float = 0.9) -> Expansion:
    """Expand KD. Temperature 4 and weight 0.9 (with 0.1 for the student's own loss): CRD (arXiv 1910.10699), CIFAR."""
    loss = dict(type='KLDivergence', tau=tau, loss_weight=loss_weight)
    return Expansion(
        losses={'': loss},
        connectors=dict(rows=dict(type='ScoreRowsConnector')),
        records={'': both('logits', 'preds_S', 'preds_T', connector='rows')},
    )
