import torch
from mmdet.registry import MODELS
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
