from numbers import Integral
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor

_MEND = 'correct its annotations, or take it out of the training list'
_MEND_BOX = (
    "correct it, or leave such boxes out, by dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)) in the pipeline"
)

Fault = Tuple[str, str]
"""What is wrong with the annotations of an image, and the mend."""


@HOOKS.register_module()
class AnnotationCheckHook(Hook):
    """Refuse annotations that do not fit their image; ``tools/train.py`` registers it.

    What the data set itself says, boxes and labels, is looked at before the first step. What is known only when an image is
    read, its mask and what the pipeline has left of its boxes, is looked at in the batches of the first pass over the data,
    before the step.

    Without it a box without area is an infinite loss in one batch of an epoch, of which some trainings never recover and
    none says the reason; a label too high an index error, or on a GPU a failed assertion in a kernel; a mask of another
    size than its image a comparison of other pixels.

    Raises:
        ValueError: Names the image, what is wrong with it, and the mend.
    """

    # Before anything sees the batch.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Look through the boxes and labels that the data set holds in memory."""
        dataset = runner.train_dataloader.dataset
        self._n_classes = _n_classes(dataset)
        self._ignored = _ignored_label(dataset)
        self._until = runner.iter + len(runner.train_dataloader)
        faults = list(_stored_faults(dataset, self._n_classes))
        if faults:
            path, (what, mend) = faults[0]
            rest = f' ({len(faults) - 1} more like it)' if len(faults) > 1 else ''
            raise ValueError(f'{path!r} of the training data {what}{rest}: {mend}.')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the images of a batch, as long as they are new."""
        if runner.iter >= self._until or not isinstance(data_batch, dict):
            return
        images, samples = data_batch.get('inputs'), data_batch.get('data_samples')
        if not isinstance(images, (list, tuple, Tensor)) or not isinstance(samples, (list, tuple)):
            # Several views of an image, say.
            return
        for index, (image, sample) in enumerate(zip(images, samples)):
            fault = next(self._faults(image, sample), None)
            if fault is not None:
                path = getattr(sample, 'img_path', None) or f'image {index} of the batch'
                raise ValueError(f'{str(path)!r} {fault[0]}: {fault[1]}.')

    def _faults(self, image: Tensor, sample: Any) -> Iterator[Fault]:
        size = tuple(image.shape[-2:])
        mask = getattr(getattr(sample, 'gt_sem_seg', None), 'data', None)
        if isinstance(mask, Tensor):
            path = str(getattr(sample, 'seg_map_path', ''))
            if tuple(mask.shape[-2:]) != size:
                yield (
                    f'is {size[0]} x {size[1]} pixels (height x width) when it reaches the model, and its mask {path!r} '
                    f'{mask.shape[-2]} x {mask.shape[-1]}',
                    _MEND,
                )
            yield from self._label_faults(mask, f'the mask {path!r} with', self._ignored)
        instances = getattr(sample, 'gt_instances', None)
        labels, boxes = getattr(instances, 'labels', None), getattr(instances, 'bboxes', None)
        if isinstance(labels, Tensor):
            yield from self._label_faults(labels, 'a box of')
        # mmdet's box types hold a tensor.
        boxes = getattr(boxes, 'tensor', boxes)
        if isinstance(boxes, Tensor) and boxes.dim() == 2 and boxes.shape[1] == 4 and len(boxes):
            good = (boxes[:, 2:] > boxes[:, :2]).all(1) & boxes.isfinite().all(1)
            if not good.all():
                box = [round(value, 2) for value in boxes[~good][0].tolist()]
                yield f'has a box without area when it reaches the model, {box} {_CORNERS}', _MEND_BOX
        label = getattr(sample, 'gt_label', None)
        if isinstance(label, Tensor):
            yield from self._label_faults(label, '')

    def _label_faults(self, labels: Tensor, of: str, ignored: Optional[int] = None) -> Iterator[Fault]:
        if self._n_classes is None or labels.is_floating_point() or not labels.numel():
            return
        lowest, highest = (int(value) for value in torch.aminmax(labels))
        if lowest >= 0 and highest < self._n_classes:
            return
        wrong = labels[(labels < 0) | (labels >= self._n_classes)]
        wrong = wrong if ignored is None else wrong[wrong != ignored]
        if wrong.numel():
            yield _label_fault(int(wrong[0]), self._n_classes, of, ignored)


_CORNERS = '(left, top, right, bottom)'


def _label_fault(label: int, n_classes: int, of: str, ignored: Optional[int] = None) -> Fault:
    allowed = f'0 to {n_classes - 1}' + ('' if ignored is None else f', and {ignored} for what is ignored')
    return f'has {of + " " if of else ""}the label {label}, but the labels of its data set are {allowed}', _MEND


def _n_classes(dataset: Any) -> Optional[int]:
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return len(classes) if classes else None


def _ignored_label(dataset: Any) -> int:
    """A mask's label for what is ignored: as the data set says or, where it says nothing (mmdet's panoptic ones), 255."""
    return next((inner.ignore_index for inner in _inner(dataset) if hasattr(inner, 'ignore_index')), 255)


def _inner(dataset: Any) -> List[Any]:
    """The data sets that others repeat, join or mix."""
    parts: Sequence[Any] = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    found = [one for part in parts if part is not None for one in _inner(part)]
    return found or [dataset]


def _stored_faults(dataset: Any, n_classes: Optional[int]) -> Iterator[Tuple[str, Fault]]:
    """Every image's path and fault, as far as the data set knows without reading an image."""
    for inner in _inner(dataset):
        if not hasattr(inner, 'get_data_info'):
            continue
        transforms = getattr(getattr(inner, 'pipeline', None), 'transforms', ())
        # Then boxes without area never reach the model.
        filtered = any(type(transform).__name__ == 'FilterAnnotations' for transform in transforms)
        for index in range(len(inner)):
            info = inner.get_data_info(index)
            for fault in _info_faults(info, n_classes, not filtered):
                yield str(info.get('img_path', f'image {index}')), fault


def _info_faults(info: dict, n_classes: Optional[int], check_boxes: bool) -> Iterator[Fault]:
    if _is_wrong(info.get('gt_label'), n_classes):
        yield _label_fault(info['gt_label'], n_classes, '')
    width, height = info.get('width') or float('inf'), info.get('height') or float('inf')
    for instance in info.get('instances') or ():
        if instance.get('ignore_flag'):
            continue
        if _is_wrong(instance.get('bbox_label'), n_classes):
            yield _label_fault(instance['bbox_label'], n_classes, 'a box of')
        box = instance.get('bbox')
        if not check_boxes or box is None or len(box) != 4:
            continue
        left, top, right, bottom = box
        # Written so that a NaN is a fault.
        if not (right > left and bottom > top):
            yield (
                f'has a box without area, {list(box)} {_CORNERS}, of which some heads make an infinite loss',
                _MEND_BOX,
            )
        elif not (right > 0 and bottom > 0 and left < width and top < height):
            yield (
                f'has a box outside its {width} x {height} pixels (width x height), {list(box)} {_CORNERS}, of which nothing '
                'is left once it is clipped',
                _MEND_BOX,
            )


def _is_wrong(label: Any, n_classes: Optional[int]) -> bool:
    return isinstance(label, Integral) and n_classes is not None and not 0 <= label < n_classes
