from pathlib import Path

import cv2
import numpy as np
from mmengine.registry import DATASETS, DefaultScope

import lckd_mm.datasets  # noqa: F401  (registers DigitMasks)


def test_ten_digits_become_one_class_and_their_contours_stay_ignored(tmp_path: Path) -> None:
    mask = np.arange(12, dtype=np.uint8)
    mask[11] = 255
    cv2.imwrite(str(tmp_path / 'a.png'), np.stack([mask, mask]))
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((2, 12, 3), np.uint8))
    config = dict(
        type='mmrazor.DigitMasks',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='', seg_map_path=''),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(config)
    assert dataset.metainfo['classes'] == ('background', 'digit')
    assert dataset[0]['gt_seg_map'].tolist() == [[0] + [1] * 10 + [255]] * 2
