"""Annotated batches of random images, one for each kind of data sample of the OpenMMLab packages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch import nn

_BATCH_SIZE = 2
_NUM_BOXES = 3
# Smaller boxes lie between the anchors of a small image.
_MIN_BOX = 24


class AnnotationOptions(NamedTuple):
    """What the pipeline of the training data of a detector loads.

    Attributes:
        masks: Whether the objects have masks.
        seg_stride: Size of the image over size of the semantic map.
    """

    masks: bool = False
    seg_stride: int = 1

    @classmethod
    def from_pipeline(cls, data: Any) -> 'AnnotationOptions':
        """Read the options from the config of a data loader.

        Example:
            >>> pipeline = [dict(type='LoadAnnotations', with_mask=True), dict(type='SegRescale', scale_factor=1 / 8)]
            >>> AnnotationOptions.from_pipeline(dict(dataset=dict(pipeline=pipeline)))
            AnnotationOptions(masks=True, seg_stride=8)
        """
        parts = list(_parts(data))
        scales = [part.get('scale_factor', 1) for part in parts if _type_name(part) == 'SegRescale']
        masks = any(part.get('with_mask', _type_name(part) == 'LoadPanopticAnnotations') for part in parts)
        return cls(masks, round(1 / scales[0]) if scales else 1)


def _type_name(part: Mapping[str, Any]) -> str:
    kind = part.get('type')
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]


def _parts(config: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(config, Mapping):
        yield config
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for part in config:
            yield from _parts(part)


def synthetic_batch(
    model: nn.Module, shape: Sequence[int], options: AnnotationOptions | None = None
) -> dict[str, list[Any]]:
    """Return what the data loader of a model yields: images of noise, and data samples with annotations.

    Args:
        model (nn.Module): The model. Its heads have ``num_classes``, and the package of its class defines the data sample.
        shape (Sequence[int]): (C, H, W) of an image.
        options (AnnotationOptions, optional): The annotations of a detector. Defaults to None: no masks.

    Returns:
        dict: ``inputs``, two uint8 images, and ``data_samples``.

    Example:
        >>> batch = synthetic_batch(nn.Conv2d(3, 4, 1), (3, 32, 32))
        >>> batch['inputs'][0].shape, batch['data_samples'][0].gt_label
        (torch.Size([3, 32, 32]), tensor([0]))
    """
    channels, height, width = shape
    num_classes = min(
        (
            count
            for module in model.modules()
            if isinstance(count := getattr(module, 'num_classes', None), int) and count > 0
        ),
        default=1,
    )
    package = type(model).__module__.partition('.')[0]
    make_sample = {'mmdet': _detection_sample, 'mmseg': _segmentation_sample}.get(package, _classification_sample)
    inputs = [torch.randint(256, (channels, height, width), dtype=torch.uint8) for _ in range(_BATCH_SIZE)]
    samples = [make_sample((height, width), num_classes, options or AnnotationOptions()) for _ in inputs]
    for index, sample in enumerate(samples):
        sample.set_metainfo(
            dict(
                img_id=index,
                img_path='',
                img_shape=(height, width),
                ori_shape=(height, width),
                scale_factor=(1.0, 1.0),
                flip=False,
                flip_direction=None,
            )
        )
    return dict(inputs=inputs, data_samples=samples)


Size = tuple[int, int]


def _detection_sample(size: Size, num_classes: int, options: AnnotationOptions) -> Any:
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks

    height, width = size
    extent = torch.rand(_NUM_BOXES, 2) * (torch.tensor([width, height]) / 2 - _MIN_BOX) + _MIN_BOX
    corner = torch.rand(_NUM_BOXES, 2) * (torch.tensor([width, height]) - extent - 1)
    boxes = torch.cat([corner, corner + extent], 1)
    labels = torch.randint(num_classes, (_NUM_BOXES,))
    sample = DetDataSample()
    sample.gt_instances = InstanceData(bboxes=HorizontalBoxes(boxes), labels=labels)
    if options.masks:
        masks = np.zeros((_NUM_BOXES, height, width), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
            mask[top : bottom + 1, left : right + 1] = 1
        sample.gt_instances.masks = BitmapMasks(masks, height, width)
    sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(torch.zeros(0, 4)))
    # Fast R-CNN reads them from a file.
    sample.proposals = InstanceData(bboxes=boxes.clone(), scores=torch.ones(_NUM_BOXES))
    seg_stride = options.seg_stride
    semantic = torch.randint(num_classes, (1, height // seg_stride, width // seg_stride))
    sample.gt_sem_seg = PixelData(sem_seg=semantic)
    return sample


def _segmentation_sample(size: Size, num_classes: int, options: AnnotationOptions) -> Any:
    from mmseg.structures import SegDataSample

    # Some losses need regions, and the edges between them.
    classes = (
        torch.randint(num_classes, (1, 2, 2)).repeat_interleave(size[0] // 2, 1).repeat_interleave(size[1] // 2, 2)
    )
    edges = torch.zeros(1, *size, dtype=torch.long)
    edges[:, size[0] // 2 - 1 : size[0] // 2 + 1] = 1
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=classes)
    sample.gt_edge_map = PixelData(data=edges)
    return sample


def _classification_sample(size: Size, num_classes: int, options: AnnotationOptions) -> Any:
    from mmpretrain.structures import DataSample

    return DataSample().set_gt_label(int(torch.randint(num_classes, ())))
