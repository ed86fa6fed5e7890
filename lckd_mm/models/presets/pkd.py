"""PKD (NeurIPS 2022, arXiv 2207.02039): distance of maps normalized per channel, that is, their correlation."""

from .registry import Expansion, both, register_preset


@register_preset('pkd')
def pkd(loss_weight: float = 6.0, resize_stu: bool = True) -> Expansion:
    """Expand PKD. Weight 6: MMRazor's configs/distill/mmdet/pkd, Faster R-CNN.

    ``resize_stu`` interpolates a student's map of another size to the teacher's; False interpolates the teacher's.
    """
    loss = dict(type='PKDLoss', resize_stu=resize_stu)
    tapwise = dict(type='TapwiseLoss', loss=loss, loss_weight=loss_weight, resize=resize_stu, min_values=2)
    return Expansion(losses={'': tapwise}, records={'': both('taps', 'student', 'teacher')})
