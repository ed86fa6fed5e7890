"""Where the images of a padded batch end."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

VALID_SHAPE = 'valid_shape'
"""The key of ``metainfo`` for (height, width) of an image in a preprocessed batch, in pixels from the top left."""


def record_valid_shapes(preprocessor: nn.Module) -> RemovableHandle:
    """Let a data preprocessor add to each training sample how large its image is in the batch.

    The size of the tensor that the pipeline returns is the only description of an image that every package gives. ``img_shape`` is the size
    of the file in mmpretrain and mmpose, and several preprocessors pad without a trace.

    Args:
        preprocessor (nn.Module): A data preprocessor.

    Returns:
        RemovableHandle: Removes the hook.
    """
    return preprocessor.register_forward_hook(_record_valid_shapes, with_kwargs=True)


def _record_valid_shapes(_: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
    data = args[0] if args else kwargs.get('data')
    is_training = args[1] if len(args) > 1 else kwargs.get('training', False)
    if not is_training or not isinstance(data, Mapping) or not isinstance(output, Mapping):
        return
    images, before, after = data.get('inputs'), data.get('data_samples'), output.get('data_samples')
    if not all(isinstance(samples, Sequence) for samples in (before, after)) or not isinstance(
        images, (Sequence, Tensor)
    ):
        return
    for image, sample, preprocessed in zip(images, before, after):  # type: ignore[arg-type]  # both are sequences here
        if not isinstance(image, Tensor) or image.dim() != 3 or not isinstance(preprocessed, BaseDataElement):
            return
        size = tuple(image.shape[-2:])
        # Batch augmentations that resize the batch update `img_shape`, provided that it is the size of this tensor.
        if tuple(getattr(sample, 'metainfo', {}).get('img_shape', ())[:2]) == size:
            size = tuple(preprocessed.metainfo['img_shape'][:2])
        preprocessed.set_metainfo({VALID_SHAPE: size})


def image_sizes(batch_inputs: Any, data_samples: Sequence[Any] | None) -> list[tuple[int, int]] | None:
    """Return height and width of each image of a padded batch, in pixels.

    An image is what the pipeline returns; it is at the top left of the batch. Padding is what the data preprocessor adds, its batch
    augmentations included. What a ``Pad`` of the pipeline adds is part of the image, as in OpenMMLab's ``img_shape``.

    Args:
        batch_inputs (Tensor): (B, C, H, W), padded to one size.
        data_samples (list, optional): The annotations. The sizes are those of :func:`record_valid_shapes`, or, without that hook, those
            that mmdet and mmseg add.

    Returns:
        list[tuple[int, int]], optional: (height, width) by image. None if every image fills the batch, or if the samples do not describe
        the padding.

    Example:
        >>> sample = BaseDataElement(metainfo=dict(valid_shape=(4, 8)))
        >>> image_sizes(torch.zeros(1, 3, 8, 8), [sample])
        [(4, 8)]
    """
    if not isinstance(batch_inputs, Tensor) or batch_inputs.dim() != 4 or not isinstance(data_samples, Sequence):
        return None
    height, width = batch_inputs.shape[-2:]
    metainfos = [getattr(sample, 'metainfo', {}) for sample in data_samples]
    if all(VALID_SHAPE in metainfo for metainfo in metainfos):
        shapes = [metainfo[VALID_SHAPE] for metainfo in metainfos]
    else:
        shapes = _described_shapes(metainfos) or []
    sizes = [(min(int(shape[0]), height), min(int(shape[1]), width)) for shape in shapes]
    return None if len(sizes) != len(batch_inputs) or set(sizes) == {(height, width)} else sizes


def _described_shapes(metainfos: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """Return ``img_shape`` of each image, if ``pad_shape`` confirms that it is the size of the image in the batch."""
    if not all('img_shape' in metainfo and metainfo.get('pad_shape') is not None for metainfo in metainfos):
        return None
    images, padded = ([metainfo[key][:2] for metainfo in metainfos] for key in ('img_shape', 'pad_shape'))
    # mmseg's preprocessor writes both keys together with this one.
    if not all('padding_size' in metainfo for metainfo in metainfos):
        # mmdet's pads to the next multiple of a divisor. A crop of mmpose has the `img_shape` of the file, which no divisor explains.
        divisor = math.gcd(*(size for shape in padded for size in shape))
        if any(not 0 <= p - i < divisor for image, pad in zip(images, padded) for i, p in zip(image, pad)):
            return None
    return images


def compute_valid_ratios(batch_inputs: Any, data_samples: Sequence[Any] | None) -> Tensor | None:
    """Return the share of height and width of each image that is not padding.

    Args:
        batch_inputs (Tensor): (B, C, H, W), padded to one size.
        data_samples (list, optional): The annotations, as in :func:`image_sizes`.

    Returns:
        Tensor, optional: (B, 2), at most 1. None if every image fills the batch, or if the samples do not describe the padding.

    Example:
        >>> sample = BaseDataElement(metainfo=dict(valid_shape=(4, 8)))
        >>> compute_valid_ratios(torch.zeros(1, 3, 8, 8), [sample])
        tensor([[0.5000, 1.0000]])
    """
    sizes = image_sizes(batch_inputs, data_samples)
    if sizes is None:
        return None
    height, width = batch_inputs.shape[-2:]
    return torch.tensor([[h / height, w / width] for h, w in sizes]).to(batch_inputs.device, non_blocking=True)
