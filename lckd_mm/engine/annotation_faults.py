"""Detection of annotations that do not match their image or their data set."""

import math
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .dataset_info import inner_datasets

_FIX = 'correct its annotations, or remove it from the training list'
_BOX_FIX = (
    "correct it, or drop such boxes with dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)) in the training pipeline"
)
_BOX_FORMAT = '(left, top, right, bottom)'


class AnnotationFault(NamedTuple):
    """A fault in the annotations of one image.

    Attributes:
        problem: The predicate of a sentence about the image: ``'has a box without area, ...'``.
        fix: What the user can do, as an imperative.
    """

    problem: str
    fix: str


class StoredSamples:
    """The samples of a data set whose annotations are checked without reading an image.

    Args:
        dataset (Any): A data set, which may be a wrapper of others. Data sets without `get_data_info` are left out.
        max_samples (int, optional): Maximum number of samples; of a larger number, equally spaced ones are checked.

    Attributes:
        num_samples (int): Number of all samples.

    Example:
        >>> len(StoredSamples([]))
        0
    """

    def __init__(self, dataset: Any, max_samples: int | None = None) -> None:
        datasets = [inner for inner in inner_datasets(dataset) if hasattr(inner, 'get_data_info')]
        self.num_samples = sum(map(len, datasets))
        step = 1 if max_samples is None else max(math.ceil(self.num_samples / max_samples), 1)
        self._parts = [(inner, range(0, len(inner), step)) for inner in datasets]

    def __len__(self) -> int:
        return sum(len(indices) for _, indices in self._parts)

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        for inner, indices in self._parts:
            yield from ((inner, index) for index in indices)


def stored_faults(samples: Iterable[tuple[Any, int]], num_classes: int | None) -> Iterator[tuple[str, AnnotationFault]]:
    """Find the faults that data sets show without reading an image.

    Args:
        samples (Iterable[tuple[Any, int]]): Data sets and indices, as :class:`StoredSamples` yields them.
        num_classes (int, optional): Number of classes. If None, labels are not checked.

    Yields:
        tuple[str, AnnotationFault]: The path of an image and a fault of it.
    """
    for inner, index in samples:
        transforms = getattr(getattr(inner, 'pipeline', None), 'transforms', ())
        # This transform removes boxes without area before they reach the model.
        is_filtered = any(type(transform).__name__ == 'FilterAnnotations' for transform in transforms)
        info = inner.get_data_info(index)
        for fault in info_faults(info, num_classes, check_boxes=not is_filtered):
            yield str(info.get('img_path', f'image {index}')), fault


def info_faults(info: dict[str, Any], num_classes: int | None, check_boxes: bool = True) -> Iterator[AnnotationFault]:
    """Find the faults in the stored information on one image.

    Args:
        info (dict[str, Any]): The information, as ``BaseDataset.get_data_info`` returns it.
        num_classes (int, optional): Number of classes. If None, labels are not checked.
        check_boxes (bool): Whether to check the coordinates of boxes. Defaults to True.

    Yields:
        AnnotationFault: A fault.

    Example:
        >>> [fault.problem for fault in info_faults(dict(gt_label=3), num_classes=3)]
        ['has the label 3, but the labels of its data set are 0 to 2']
    """
    if _is_invalid(info.get('gt_label'), num_classes):
        yield _label_fault(info['gt_label'], num_classes)
    size = info.get('width') or float('inf'), info.get('height') or float('inf')
    for instance in info.get('instances') or ():
        if instance.get('ignore_flag'):
            continue
        if _is_invalid(instance.get('bbox_label'), num_classes):
            yield _label_fault(instance['bbox_label'], num_classes, owner='a box with ')
        box = instance.get('bbox')
        if check_boxes and box is not None and len(box) == 4:
            yield from _stored_box_faults(box, *size)


def sample_faults(
    image: Tensor,
    sample: Any,
    num_classes: int | None,
    ignore_index: int | None,
    num_mask_classes: int | None = None,
) -> Iterator[AnnotationFault]:
    """Find the faults in the annotations that reach the model together with an image.

    Args:
        image (Tensor): The image, (C, H, W).
        sample (Any): Its data sample, as the packing transforms of the OpenMMLab packages make it.
        num_classes (int, optional): Number of classes. If None, labels are not checked.
        ignore_index (int, optional): The label of ignored pixels in masks.
        num_mask_classes (int, optional): Number of classes of semantic masks. If None, labels in masks are not checked.

    Yields:
        AnnotationFault: A fault.

    Example:
        >>> from types import SimpleNamespace
        >>> sample = SimpleNamespace(gt_label=torch.tensor([3]))
        >>> [fault.problem for fault in sample_faults(torch.zeros(3, 8, 8), sample, num_classes=3, ignore_index=None)]
        ['has the label 3, but the labels of its data set are 0 to 2']
    """
    yield from _mask_faults(image, sample, num_mask_classes, ignore_index)
    instances = getattr(sample, 'gt_instances', None)
    yield from _tensor_label_faults(getattr(instances, 'labels', None), num_classes, owner='a box with ')
    yield from _packed_box_faults(getattr(instances, 'bboxes', None))
    yield from _tensor_label_faults(getattr(sample, 'gt_label', None), num_classes)


def _is_invalid(label: Any, num_classes: int | None) -> bool:
    return isinstance(label, Integral) and num_classes is not None and not 0 <= int(label) < num_classes


def _label_fault(
    label: int, num_classes: int | None, owner: str = '', ignore_index: int | None = None
) -> AnnotationFault:
    assert num_classes is not None
    valid = f'0 to {num_classes - 1}' + ('' if ignore_index is None else f', and {ignore_index} for ignored pixels')
    return AnnotationFault(f'has {owner}the label {label}, but the labels of its data set are {valid}', _FIX)


def _stored_box_faults(box: Any, width: float, height: float) -> Iterator[AnnotationFault]:
    left, top, right, bottom = box
    # In this form a comparison with NaN is a fault.
    if not (right > left and bottom > top):
        problem = f'has a box without area, {list(box)} {_BOX_FORMAT}, for which some heads compute an infinite loss'
        yield AnnotationFault(problem, _BOX_FIX)
    elif not (right > 0 and bottom > 0 and left < width and top < height):
        yield AnnotationFault(
            f'has a box outside its {width} x {height} pixels (width x height), {list(box)} {_BOX_FORMAT}, '
            'which is empty after clipping',
            _BOX_FIX,
        )


def _mask_faults(
    image: Tensor, sample: Any, num_classes: int | None, ignore_index: int | None
) -> Iterator[AnnotationFault]:
    mask = getattr(getattr(sample, 'gt_sem_seg', None), 'data', None)
    if not isinstance(mask, Tensor):
        return
    path = str(getattr(sample, 'seg_map_path', ''))
    size, mask_size = tuple(image.shape[-2:]), tuple(mask.shape[-2:])
    if mask_size != size:
        yield AnnotationFault(
            f'is {size[0]} x {size[1]} pixels (height x width) when it reaches the model, '
            f'but its mask {path!r} is {mask_size[0]} x {mask_size[1]}',
            _FIX,
        )
    yield from _tensor_label_faults(mask, num_classes, f'the mask {path!r} with ', ignore_index)


def _packed_box_faults(boxes: Any) -> Iterator[AnnotationFault]:
    # The box types of MMDetection contain a tensor.
    boxes = getattr(boxes, 'tensor', boxes)
    if not isinstance(boxes, Tensor) or boxes.dim() != 2 or boxes.shape[1] != 4 or not len(boxes):
        return
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1) & boxes.isfinite().all(1)
    if not has_area.all():
        box = [round(value, 2) for value in boxes[~has_area][0].tolist()]
        yield AnnotationFault(f'has a box without area when it reaches the model, {box} {_BOX_FORMAT}', _BOX_FIX)


def _tensor_label_faults(
    labels: Any, num_classes: int | None, owner: str = '', ignore_index: int | None = None
) -> Iterator[AnnotationFault]:
    if not isinstance(labels, Tensor) or num_classes is None or labels.is_floating_point() or not labels.numel():
        return
    lowest, highest = (int(value) for value in torch.aminmax(labels))
    if lowest >= 0 and highest < num_classes:
        return
    invalid = labels[(labels < 0) | (labels >= num_classes)]
    invalid = invalid if ignore_index is None else invalid[invalid != ignore_index]
    if invalid.numel():
        yield _label_fault(int(invalid[0]), num_classes, owner, ignore_index)
