"""The share of a padded batch that each image fills."""

from typing import Any

import torch
from torch import Tensor


def compute_valid_ratios(batch_inputs: Tensor, data_samples: list[Any] | None) -> Tensor | None:
    """Return the share of height and width of each image that is not padding.

    Args:
        batch_inputs (Tensor): (B, 3, H, W), padded to one size.
        data_samples (list, optional): The annotations. The data preprocessors of mmdet and mmsegmentation add the size of each image,
            ``img_shape``, and the mark of a padded batch, ``pad_shape`` or ``batch_input_shape``.

    Returns:
        Tensor, optional: (B, 2), at most 1. None if every image fills the batch, or if the samples do not describe the padding.

    Example:
        >>> from mmengine.structures import BaseDataElement
        >>> sample = BaseDataElement(metainfo=dict(img_shape=(4, 8), pad_shape=(8, 8)))
        >>> compute_valid_ratios(torch.zeros(1, 3, 8, 8), [sample])
        tensor([[0.5000, 1.0000]])
    """
    height, width = batch_inputs.shape[-2:]
    ratios = []
    for sample in data_samples or ():
        metainfo = getattr(sample, 'metainfo', {})
        # A classifier's images are never padded, and their `img_shape` may be that of the file.
        if 'img_shape' not in metainfo or not {'pad_shape', 'batch_input_shape'} & metainfo.keys():
            return None
        ratios.append([min(metainfo['img_shape'][0] / height, 1.0), min(metainfo['img_shape'][1] / width, 1.0)])
    if len(ratios) != len(batch_inputs) or all(ratio == 1.0 for pair in ratios for ratio in pair):
        return None
    return torch.tensor(ratios).to(batch_inputs.device, non_blocking=True)
