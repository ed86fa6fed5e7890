from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch.utils.data import DataLoader

from lckd_mm.engine.hooks import AnnotationCheckHook


class _Stored(BaseDataset):
    """A data set of what it is given."""

    def __init__(self, infos: List[dict], classes: Optional[int] = 3, transforms: tuple = ()) -> None:
        self.infos = infos
        super().__init__(metainfo=dict(classes=[str(i) for i in range(classes)]) if classes else {})
        self.pipeline.transforms = list(transforms)

    def load_data_list(self) -> List[dict]:
        return self.infos


def _info(*boxes: List[float], label: int = 0, ignore_flag: int = 0) -> dict:
    instances = [dict(bbox=list(box), bbox_label=label, ignore_flag=ignore_flag) for box in boxes]
    return dict(img_path='cells/7.jpg', width=60, height=40, instances=instances)


def _runner(dataset: Any, iteration: int = 0) -> SimpleNamespace:
    return SimpleNamespace(train_dataloader=DataLoader(dataset, batch_size=2), iter=iteration)


def _started(dataset: Any) -> AnnotationCheckHook:
    hook = AnnotationCheckHook()
    hook.before_train(_runner(dataset))
    return hook


def test_good_boxes_pass_and_so_do_those_that_reach_over_the_border_or_are_ignored() -> None:
    _started(_Stored([_info([0, 0, 60, 40], [-5, -5, 3, 3], [50, 30, 70, 50]), _info()]))
    _started(_Stored([_info([9, 9, 9, 9], ignore_flag=1)]))
    _started(_Stored([dict(img_path='a.jpg', gt_label=2), dict(img_path='b.jpg', gt_label=np.int64(0))]))


@pytest.mark.parametrize(
    ('box', 'said'),
    [
        ([9, 9, 9, 9], 'a box without area'),
        ([9, 9, 5, 20], 'a box without area'),
        ([float('nan'), 0, 5, 5], 'a box without area'),
        ([60, 0, 80, 20], r'a box outside its 60 x 40 pixels'),
        ([0, -9, 5, 0], r'a box outside its 60 x 40 pixels'),
    ],
)
@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: RepeatDataset(d, 2), lambda d: ConcatDataset([d])])
def test_a_box_of_which_nothing_is_left_is_said_before_the_first_step(box: list, said: str, wrap: Any) -> None:
    dataset = _Stored([_info([1, 1, 5, 5]), _info(box), _info(box, box)])
    with pytest.raises(
        ValueError, match=rf"'cells/7.jpg' of the training data has {said}.*\(2 more like it\).*FilterAnn"
    ):
        _started(wrap(dataset))


def test_a_pipeline_that_leaves_such_boxes_out_is_trusted() -> None:
    from mmdet.datasets.transforms import FilterAnnotations

    _started(_Stored([_info([9, 9, 9, 9])], transforms=(FilterAnnotations(),)))


@pytest.mark.parametrize('info', [_info([1, 1, 5, 5], label=3), dict(img_path='cells/7.jpg', gt_label=3)])
def test_a_class_too_many_is_said_before_the_first_step(info: dict) -> None:
    with pytest.raises(ValueError, match=r"'cells/7.jpg'.*label 3, but the labels of its data set are 0 to 2: correct"):
        _started(_Stored([info]))
    _started(_Stored([info], classes=4))
    # Nothing to compare with.
    _started(_Stored([info], classes=None))


def _batch(**annotations: Any) -> dict:
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo=dict(img_path='road/3.png', seg_map_path='masks/3.png'))
    for name, value in annotations.items():
        setattr(sample, name, value)
    return dict(inputs=[torch.zeros(3, 40, 60)], data_samples=[sample])


def _mask(*size: int, label: int = 1) -> PixelData:
    return PixelData(data=torch.full((1, *size), label))


def _boxes(box: List[float], label: int = 0) -> InstanceData:
    return InstanceData(bboxes=torch.tensor([[1.0, 1, 5, 5], box]), labels=torch.tensor([0, label]))


GOOD: List[Dict[str, Any]] = [
    dict(gt_sem_seg=_mask(40, 60)),
    dict(gt_sem_seg=_mask(40, 60, label=255)),
    dict(gt_instances=_boxes([0.0, 0, 1, 1])),
    dict(gt_instances=InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))),
    dict(),
]
BAD = [
    (dict(gt_sem_seg=_mask(20, 30)), r"is 40 x 60 pixels.*its mask 'masks/3.png' 20 x 30"),
    (
        dict(gt_sem_seg=_mask(40, 60, label=3)),
        r"the mask 'masks/3.png' with the label 3.*0 to 2, and 255 for what is ign",
    ),
    (dict(gt_instances=_boxes([4.0, 4, 4, 9])), r'a box without area.*\[4.0, 4.0, 4.0, 9.0\].*FilterAnnotations'),
    (dict(gt_instances=_boxes([4.0, 4, float('inf'), 9])), 'a box without area'),
    (dict(gt_instances=_boxes([0.0, 0, 1, 1], label=255)), 'a box of the label 255.*0 to 2: correct'),
]


@pytest.mark.parametrize('annotations', GOOD)
def test_a_good_batch_passes(annotations: dict) -> None:
    hook = _started(_Stored([_info()] * 4))
    hook.before_train_iter(_runner(None), 0, _batch(**annotations))


@pytest.mark.parametrize(('annotations', 'said'), BAD)
def test_a_batch_that_does_not_fit_is_refused_in_the_first_pass_over_the_data(annotations: dict, said: str) -> None:
    dataset = _Stored([_info()] * 4)
    hook = _started(dataset)
    with pytest.raises(ValueError, match=rf"'road/3.png' .*{said}"):
        hook.before_train_iter(_runner(dataset, 1), 0, _batch(**annotations))
    # Two batches an epoch: seen already.
    hook.before_train_iter(_runner(dataset, 2), 0, _batch(**annotations))


def test_masks_of_real_files(tmp_path: Path) -> None:
    """mmsegmentation's own data set, loading and packing; a mask smaller than its image."""
    for name, size in (('a', (40, 60)), ('b', (40, 60)), ('c', (20, 30))):
        cv2.imwrite(str(tmp_path / f'{name}.jpg'), np.zeros((40, 60, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.full(size, 255 if name == 'a' else 1, np.uint8))
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(
            dict(
                type='BaseSegDataset',
                data_prefix=dict(img_path=str(tmp_path), seg_map_path=str(tmp_path)),
                metainfo=dict(classes=('x', 'y'), palette=[[0, 0, 0], [1, 1, 1]]),
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
            )
        )
    hook = _started(dataset)

    def look(index: int) -> None:
        item = dataset[index]
        hook.before_train_iter(_runner(dataset), 0, dict(inputs=[item['inputs']], data_samples=[item['data_samples']]))

    look(0)
    look(1)
    with pytest.raises(ValueError, match=r"c.jpg' is 40 x 60 .* its mask '.*c.png' 20 x 30"):
        look(2)


def test_batches_of_another_make_are_left_alone() -> None:
    hook = _started(_Stored([_info()]))
    views = torch.zeros(2, 3, 4, 4)
    for batch in (
        None,
        [views],
        dict(inputs=dict(weak=[views], strong=[views]), data_samples=dict()),
        dict(inputs=views),
    ):
        hook.before_train_iter(_runner(None), 0, batch)
