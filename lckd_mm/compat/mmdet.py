"""Patches of mmdet."""

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .patching import NumpyWith, patch


def _has_no_loss_cls() -> bool:
    from mmdet.models.dense_heads import SSDHead

    return not hasattr(SSDHead, 'loss_cls')


@patch(
    'mmdet.models.dense_heads:SSDHead',
    'loss_cls',
    library='mmdet',
    versions='>=3.1,<=3.3.0',
    onedl='>=3.5,<4',
    issue='open-mmlab/mmdetection#11063',
    reason="SSD cannot predict: 'SSDHead' object has no attribute 'loss_cls', which BaseDenseHead reads; the loss of SSD is a function",
    until='an mmdet after 3.3.0 reads the attribute only where it exists',
    is_needed=_has_no_loss_cls,
)
def mmdet_ssd_head(_: Any) -> None:
    """Let the attribute be None, which has no custom class channels."""


@patch(
    'mmdet.evaluation.functional.ytviseval',
    'np',
    library='mmdet',
    versions='>=3.1,<=3.3.0',
    onedl='',
    issue='none known',
    reason="YouTubeVISMetric fails after the evaluation: module 'numpy' has no attribute 'float', which numpy 1.24 removed",
    until='an mmdet after 3.3.0 uses float',
    is_needed=lambda: not hasattr(np, 'float'),
)
def mmdet_youtube_vis(_: types.ModuleType) -> types.ModuleType:
    """Let ``np.float`` be ``float``, as it was."""
    return NumpyWith(float=float)


@patch(
    'mmdet.evaluation.metrics.flickr30k_metric:Flickr30kMetric',
    'merge_boxes',
    library='mmdet',
    versions='>=3.3,<=3.3.0',
    onedl='>=3.5,<4',
    issue='none known',
    reason="Flickr30kMetric(merge_boxes=True) fails for a phrase with several boxes: module 'numpy' has no attribute 'boxes'",
    until='an mmdet after 3.3.0 reads np_boxes',
)
def mmdet_flickr30k_boxes(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the smallest box that contains all boxes."""

    def merge_boxes(self: Any, boxes: list[list[int]]) -> list[list[int]]:
        if len(boxes) == 1:
            return original(self, boxes)  # type: ignore[no-any-return]
        corners = np.asarray(boxes)
        return [[*corners[:, :2].min(0), *corners[:, 2:].max(0)]]

    return merge_boxes
