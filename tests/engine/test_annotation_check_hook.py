import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch.utils.data import DataLoader

from lckd_mm.engine.hooks import AnnotationCheckHook
from lckd_mm.errors import ConfigValueError

from ..helpers.processes import SCRIPTS, run_processes


class _InfoDataset(BaseDataset):
    """A data set with the given information."""

    def __init__(self, infos: list[dict], classes: int | None = 3, transforms: tuple = ()) -> None:
        self.infos = infos
        super().__init__(metainfo=dict(classes=[str(i) for i in range(classes)]) if classes else {})
        self.pipeline.transforms = list(transforms)

    def load_data_list(self) -> list[dict]:
        return self.infos


def _info(*boxes: list[float], label: int = 0, ignore_flag: int = 0) -> dict:
    instances = [dict(bbox=list(box), bbox_label=label, ignore_flag=ignore_flag) for box in boxes]
    return dict(img_path='cells/7.jpg', width=60, height=40, instances=instances)


def _runner(dataset: Any, iteration: int = 0) -> SimpleNamespace:
    return SimpleNamespace(train_dataloader=DataLoader(dataset, batch_size=2), iter=iteration)


def _started_hook(dataset: Any) -> AnnotationCheckHook:
    hook = AnnotationCheckHook()
    hook.before_train(_runner(dataset))
    return hook


def test_boxes_inside_over_the_border_or_ignored_are_accepted() -> None:
    _started_hook(_InfoDataset([_info([0, 0, 60, 40], [-5, -5, 3, 3], [50, 30, 70, 50]), _info()]))
    _started_hook(_InfoDataset([_info([9, 9, 9, 9], ignore_flag=1)]))
    _started_hook(_InfoDataset([dict(img_path='a.jpg', gt_label=2), dict(img_path='b.jpg', gt_label=np.int64(0))]))


@pytest.mark.parametrize(
    ('box', 'message'),
    [
        ([9, 9, 9, 9], 'a box without area'),
        ([9, 9, 5, 20], 'a box without area'),
        ([float('nan'), 0, 5, 5], 'a box without area'),
        ([60, 0, 80, 20], r'a box outside its 60 x 40 pixels'),
        ([0, -9, 5, 0], r'a box outside its 60 x 40 pixels'),
    ],
)
@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: RepeatDataset(d, 2), lambda d: ConcatDataset([d])])
def test_a_box_that_is_empty_after_clipping_is_rejected_before_the_first_step(
    box: list, message: str, wrap: Any
) -> None:
    dataset = _InfoDataset([_info([1, 1, 5, 5]), _info(box), _info(box, box)])
    with pytest.raises(
        ConfigValueError,
        match=rf"'cells/7.jpg' of the training data has {message}.*\(2 more faults of this kind\).*FilterAnn",
    ):
        _started_hook(wrap(dataset))


def test_boxes_that_the_pipeline_filters_are_accepted() -> None:
    from mmdet.datasets.transforms import FilterAnnotations

    _started_hook(_InfoDataset([_info([9, 9, 9, 9])], transforms=(FilterAnnotations(),)))


@pytest.mark.parametrize('info', [_info([1, 1, 5, 5], label=3), dict(img_path='cells/7.jpg', gt_label=3)])
def test_a_label_that_is_too_high_is_rejected_before_the_first_step(info: dict) -> None:
    with pytest.raises(
        ConfigValueError, match=r"'cells/7.jpg'.*label 3, but the labels of its data set are 0 to 2: correct"
    ):
        _started_hook(_InfoDataset([info]))
    _started_hook(_InfoDataset([info], classes=4))
    # Without class names the labels cannot be checked.
    _started_hook(_InfoDataset([info], classes=None))


def _batch(**annotations: Any) -> dict:
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo=dict(img_path='road/3.png', seg_map_path='masks/3.png'))
    for name, value in annotations.items():
        setattr(sample, name, value)
    return dict(inputs=[torch.zeros(3, 40, 60)], data_samples=[sample])


def _mask(*size: int, label: int = 1) -> PixelData:
    return PixelData(data=torch.full((1, *size), label))


def _boxes(box: list[float], label: int = 0) -> InstanceData:
    return InstanceData(bboxes=torch.tensor([[1.0, 1, 5, 5], box]), labels=torch.tensor([0, label]))


CORRECT: list[dict[str, Any]] = [
    dict(gt_sem_seg=_mask(40, 60)),
    dict(gt_sem_seg=_mask(40, 60, label=255)),
    dict(gt_instances=_boxes([0.0, 0, 1, 1])),
    dict(gt_instances=InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))),
    dict(),
]
WRONG = [
    (dict(gt_sem_seg=_mask(20, 30)), r"is 40 x 60 pixels.*its mask 'masks/3.png' is 20 x 30"),
    (
        dict(gt_sem_seg=_mask(40, 60, label=3)),
        r"the mask 'masks/3.png' with the label 3.*0 to 2, and 255 for ignored pixels",
    ),
    (dict(gt_instances=_boxes([4.0, 4, 4, 9])), r'a box without area.*\[4.0, 4.0, 4.0, 9.0\].*FilterAnnotations'),
    (dict(gt_instances=_boxes([4.0, 4, float('inf'), 9])), 'a box without area'),
    (dict(gt_instances=_boxes([0.0, 0, 1, 1], label=255)), 'a box with the label 255.*0 to 2: correct'),
]


@pytest.mark.parametrize('annotations', CORRECT)
def test_a_correct_batch_is_accepted(annotations: dict) -> None:
    hook = _started_hook(_InfoDataset([_info()] * 4))
    hook.before_train_iter(_runner(None), 0, _batch(**annotations))


@pytest.mark.parametrize(('annotations', 'message'), WRONG)
def test_a_wrong_batch_is_rejected_in_the_first_epoch(annotations: dict, message: str) -> None:
    dataset = _InfoDataset([_info()] * 4)
    hook = _started_hook(dataset)
    with pytest.raises(ConfigValueError, match=rf"'road/3.png' .*{message}"):
        hook.before_train_iter(_runner(dataset, 1), 0, _batch(**annotations))
    # An epoch has two batches, so iteration 2 belongs to the second epoch.
    hook.before_train_iter(_runner(dataset, 2), 0, _batch(**annotations))


def test_a_mask_file_that_is_smaller_than_its_image_is_rejected(tmp_path: Path) -> None:
    """The data set, the loading and the packing are those of MMSegmentation."""
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
    hook = _started_hook(dataset)

    def check(index: int) -> None:
        item = dataset[index]
        hook.before_train_iter(_runner(dataset), 0, dict(inputs=[item['inputs']], data_samples=[item['data_samples']]))

    check(0)
    check(1)
    with pytest.raises(ConfigValueError, match=r"c.jpg' is 40 x 60 .* its mask '.*c.png' is 20 x 30"):
        check(2)


def test_batches_of_other_forms_are_not_checked() -> None:
    hook = _started_hook(_InfoDataset([_info()]))
    views = torch.zeros(2, 3, 4, 4)
    for batch in (
        None,
        [views],
        dict(inputs=dict(weak=[views], strong=[views]), data_samples=dict()),
        dict(inputs=views),
    ):
        hook.before_train_iter(_runner(None), 0, batch)


def test_masks_of_a_detector_without_stuff_classes_may_have_other_labels() -> None:
    """Hybrid Task Cascade reads the masks of COCO-Stuff, whose labels are up to 182, next to 80 classes of boxes."""
    batch = _batch(gt_instances=_boxes([0.0, 0, 1, 1]), gt_sem_seg=_mask(40, 60, label=182))
    dataset = _InfoDataset([_info()])
    _started_hook(dataset).before_train_iter(_runner(None), 0, batch)
    dataset._metainfo.update(thing_classes=['0', '1'], stuff_classes=['2'])
    with pytest.raises(ConfigValueError, match=r"the mask 'masks/3.png' with the label 182"):
        _started_hook(dataset).before_train_iter(_runner(None), 0, batch)


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """The messages of the current log."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def _read_indices(dataset: BaseDataset, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    indices: list[int] = []
    read = dataset.get_data_info
    monkeypatch.setattr(dataset, 'get_data_info', lambda index: (indices.append(index), read(index))[1])
    return indices


def test_a_large_data_set_is_checked_at_equally_spaced_images(
    monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    dataset = _InfoDataset([_info()] * 10)
    indices = _read_indices(dataset, monkeypatch)
    AnnotationCheckHook(max_images=4).before_train(_runner(dataset))
    assert indices == [0, 3, 6, 9]
    assert 'checking the annotations of 4 of 10 images' in messages[0]
    assert 'the limit is 4, max_images of AnnotationCheckHook' in messages[0]


def test_a_small_data_set_is_checked_completely(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    dataset = _InfoDataset([_info()] * 10)
    indices = _read_indices(dataset, monkeypatch)
    _started_hook(ConcatDataset([dataset, _InfoDataset([_info()])]))
    assert indices == list(range(10))
    assert not messages


@pytest.mark.parametrize('options', [dict(max_images=0), dict(max_file_megabytes=-1)])
def test_limits_that_are_not_valid_are_rejected(options: dict) -> None:
    with pytest.raises(ConfigValueError, match='valid: at least 1 and at least 0'):
        AnnotationCheckHook(**options)


@pytest.mark.parametrize(('number', 'is_shown'), [(1999, False), (2000, True)])
def test_progress_is_shown_for_large_data_sets(number: int, is_shown: bool, capsys: pytest.CaptureFixture) -> None:
    _started_hook(_InfoDataset([dict(img_path='a.jpg', gt_label=0)] * number))
    assert ('checking annotations' in capsys.readouterr().out) == is_shown


def test_one_process_of_a_machine_checks_and_all_end_with_its_sentence(tmp_path: Path) -> None:
    done = run_processes(2, SCRIPTS / 'annotation_check.py', tmp_path, PYTHONPATH=str(Path(__file__).parents[2]))
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / rank).read_text()) for rank in '01']
    assert {kind: error for kind, (_, error) in ranks[0].items()} == {
        kind: error for kind, (_, error) in ranks[1].items()
    }
    assert all(num_reads > 0 for num_reads, _ in ranks[0].values())
    assert all(num_reads == 0 for num_reads, _ in ranks[1].values())
    errors = [ranks[0][kind][1] for kind in ('correct', 'wrong', 'unreadable')]
    assert errors[0] == ''
    assert errors[1].startswith("'1.jpg' of the training data has a box without area")
    assert errors[2].startswith('the annotations of the training data cannot be checked (OSError: disk failure)')


def _voc_folder(folder: Path) -> dict:
    """Two images: the first has three objects, the second only one of a class that is not learned."""
    for name in ('JPEGImages', 'Annotations'):
        (folder / name).mkdir()
    for name, objects in (('0', ['cat', 'dog', 'dog']), ('1', ['bus'])):
        box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox><difficult>0</difficult>'
        entries = ''.join(f'<object><name>{entry}</name>{box}</object>' for entry in objects)
        size = '<size><width>20</width><height>20</height></size>'
        (folder / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{size}{entries}</annotation>')
    (folder / 'list.txt').write_text('0\n1\n')
    return dict(
        type='mmdet.XMLDataset',
        data_root=str(folder),
        ann_file='list.txt',
        data_prefix=dict(sub_data_root=''),
        filter_cfg=dict(filter_empty_gt=True),
    )


def _coco_file(folder: Path) -> dict:
    categories = [dict(id=7, name='cat'), dict(id=9, name='dog'), dict(id=11, name='bus')]
    annotations = [
        dict(id=i, image_id=0, category_id=category, bbox=[1, 1, 8, 8], area=64, iscrowd=0)
        for i, category in enumerate([7, 9, 9, 11])
    ]
    content = dict(images=[dict(id=0, file_name='0.jpg', width=20, height=20)], categories=categories)
    (folder / 'boxes.json').write_text(json.dumps(dict(content, annotations=annotations)))
    return dict(type='mmdet.CocoDataset', data_root=str(folder), ann_file='boxes.json', data_prefix=dict(img=''))


def _multi_label_folder(folder: Path) -> dict:
    _voc_folder(folder)
    return dict(
        type='mmpretrain.VOC',
        data_root=str(folder),
        image_set_path='list.txt',
        data_prefix=dict(img_path='JPEGImages', ann_path='Annotations'),
    )


@pytest.mark.parametrize('make', [_voc_folder, _coco_file, _multi_label_folder])
@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: RepeatDataset(d, 2)])
def test_objects_of_other_classes_are_counted_in_a_warning(
    make: Any, wrap: Any, tmp_path: Path, messages: list[str]
) -> None:
    settings = make(tmp_path)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dict(settings, metainfo=dict(classes=('cat',)), pipeline=[]))
    messages.clear()
    _started_hook(wrap(dataset))
    (message,) = messages
    assert "3 objects of the classes 'dog' (2), 'bus' (1) are in the annotations, but not in the classes" in message


@pytest.mark.parametrize('make', [_voc_folder, _coco_file, _multi_label_folder])
def test_annotations_of_known_classes_cause_no_warning(make: Any, tmp_path: Path, messages: list[str]) -> None:
    settings = make(tmp_path)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dict(settings, metainfo=dict(classes=('cat', 'dog', 'bus')), pipeline=[]))
    messages.clear()
    _started_hook(dataset)
    assert not messages


def test_coco_files_above_the_limit_are_not_searched(tmp_path: Path, messages: list[str]) -> None:
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dict(_coco_file(tmp_path), metainfo=dict(classes=('cat',)), pipeline=[]))
    messages.clear()
    AnnotationCheckHook(max_file_megabytes=0).before_train(_runner(dataset))
    (message,) = messages
    assert 'boxes.json' in message
    assert 'max_file_megabytes' in message


def test_json_files_of_other_formats_are_not_searched(tmp_path: Path, messages: list[str]) -> None:
    path = tmp_path / 'boxes.json'
    path.write_text('[]')
    dataset = _InfoDataset([_info()])
    dataset.ann_file, dataset.cat2label = str(path), {}
    _started_hook(dataset)
    assert not messages
