"""DKD (CVPR 2022, arXiv 2203.08679): KD with separate weights for the target class and the other classes."""

from .registry import Expansion, both, register_preset


@register_preset('dkd', reads='logits')
def dkd(tau: float = 1.0, alpha: float = 1.0, beta: float = 0.5, loss_weight: float = 1.0) -> Expansion:
    """Expand DKD. Defaults: the authors' settings for ImageNet (arXiv 2203.08679), which are those of MMRazor's configs/distill/mmcls/dkd.

    The loss is averaged over the images, as in the paper; MMRazor's adds them up.
    """
    loss = dict(type='DecoupledLoss', tau=tau, alpha=alpha, beta=beta, loss_weight=loss_weight)
    records = both('logits', 'preds_S', 'preds_T')
    records['gt_labels'] = dict(recorder='labels', from_student=True, data_idx=1)
    return Expansion(losses={'': loss}, records={'': records}, student_recorders=dict(labels=dict(type='Labels')))
