"""CWD (ICCV 2021, arXiv 2011.13256): divergence of the spatial distributions of each channel."""

from .registry import Expansion, both, register_preset


@register_preset('cwd')
def cwd(tau: float = 1.0, loss_weight: float = 5.0, normalize: bool = False, resize: bool = True) -> Expansion:
    """Expand CWD. Temperature 1 and weight 5: MMRazor's configs/distill/mmseg/cwd; on a detector's neck it uses 10.

    ``normalize`` normalizes each channel of both networks over the batch and its positions first, as mmyolo does for RTMDet
    (configs/rtmdet/distillation), with weight 1. ``resize`` interpolates a student's map of another size to the teacher's, as PKD does.
    """
    loss = dict(type='ChannelWiseDivergence', tau=tau)
    tapwise = dict(type='TapwiseLoss', loss=loss, loss_weight=loss_weight, resize=resize)
    if not normalize:
        return Expansion(losses={'': tapwise}, records={'': both('taps', 'student', 'teacher')})
    return Expansion(
        losses={'': tapwise},
        connectors=dict(norms=dict(type='ChannelNormConnector')),
        records={'': both('taps', 'student', 'teacher', connector='norms')},
    )
