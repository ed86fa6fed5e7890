"""Patch of mmdet."""

from typing import Any

from .patching import patch


def _has_no_loss_cls() -> bool:
    from mmdet.models.dense_heads import SSDHead

    return not hasattr(SSDHead, 'loss_cls')


@patch(
    'mmdet.models.dense_heads:SSDHead',
    'loss_cls',
    library='mmdet',
    versions='>=3.1,<=3.3.0',
    issue='open-mmlab/mmdetection#11063',
    reason="SSD cannot predict: 'SSDHead' object has no attribute 'loss_cls', which BaseDenseHead reads; the loss of SSD is a function",
    until='an mmdet after 3.3.0 reads the attribute only where it exists',
    is_needed=_has_no_loss_cls,
)
def mmdet_ssd_head(_: Any) -> None:
    """Let the attribute be None, which has no custom class channels."""
