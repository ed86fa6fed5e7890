"""DIST (NeurIPS 2022, arXiv 2205.10536): correlation of class probabilities within and between images."""

from .registry import Expansion, both, register_preset


@register_preset('dist', reads='logits')
def dist(
    tau: float = 1.0,
    inter_loss_weight: float = 1.0,
    intra_loss_weight: float = 1.0,
    loss_weight: float = 2.0,
) -> Expansion:
    """Expand DIST. Defaults: MMRazor's configs/distill/mmcls/dist, ImageNet."""
    loss = dict(
        type='DISTLoss',
        tau=tau,
        inter_loss_weight=inter_loss_weight,
        intra_loss_weight=intra_loss_weight,
        loss_weight=loss_weight,
    )
    return Expansion(
        losses={'': loss},
        connectors=dict(rows=dict(type='ScoreRowsConnector')),
        records={'': both('logits', 'logits_S', 'logits_T', connector='rows')},
    )
