import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from mmdet.evaluation.functional import YTVIS, YTVISeval
from mmdet.registry import METRICS, MODELS
from mmengine.config import ConfigDict

import lckd_mm  # noqa: F401  (applies the patches)


def test_ssd_predicts() -> None:
    head = MODELS.build(
        dict(
            type='SSDHead',
            _scope_='mmdet',
            num_classes=3,
            in_channels=(8,),
            anchor_generator=dict(
                type='SSDAnchorGenerator',
                scale_major=False,
                input_size=32,
                basesize_ratio_range=(0.15, 0.9),
                strides=[8],
                ratios=[[2]],
                min_sizes=[8],
                max_sizes=[16],
            ),
            test_cfg=ConfigDict(nms=dict(type='nms', iou_threshold=0.5), score_thr=0.0, max_per_img=5, nms_pre=10),
        )
    )
    image = dict(img_shape=(32, 32), scale_factor=(1, 1), ori_shape=(32, 32))
    scores, boxes = head((torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0)),))
    (result,) = head.predict_by_feat(scores, boxes, batch_img_metas=[image])
    assert len(result) == 5


def test_video_instances_are_evaluated() -> None:
    # Two frames with one object, found in both.
    video = dict(id=1, width=8, height=8, length=2, file_names=['a.jpg', 'b.jpg'])
    boxes = [[1.0, 1.0, 4.0, 4.0], [2.0, 2.0, 4.0, 4.0]]
    masks = [encode_box(box) for box in boxes]
    track = dict(id=1, video_id=1, category_id=1, iscrowd=0, bboxes=boxes, areas=[16.0, 16.0], segmentations=masks)
    truth = YTVIS(dict(videos=[video], categories=[dict(id=1, name='digit')], annotations=[track]))
    found = truth.loadRes([dict(video_id=1, category_id=1, score=0.9, segmentations=masks)])
    evaluation = YTVISeval(truth, found, 'segm')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def encode_box(box: list[float]) -> dict:
    """Return the mask of a box (x, y, width, height) in an image of 8 x 8 pixels."""
    mask = np.zeros((8, 8), dtype=np.uint8, order='F')
    x, y, width, height = map(int, box)
    mask[y : y + height, x : x + width] = 1
    return mask_util.encode(mask)


def test_boxes_of_a_phrase_are_merged() -> None:
    metric = METRICS.build(dict(type='Flickr30kMetric', _scope_='mmdet', merge_boxes=True))
    assert metric.merge_boxes([[1, 5, 3, 6], [0, 7, 2, 9], [1, 6, 4, 7]]) == [[0, 5, 4, 9]]
    assert metric.merge_boxes([[1, 5, 3, 6]]) == [[1, 5, 3, 6]]
