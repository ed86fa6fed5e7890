"""The size of the images of a batch."""

from typing import Any

from .tensors import find_tensors


def get_image_size(batch_inputs: Any) -> tuple[int, int] | None:
    """Return height and width in pixels of the images of a batch.

    Args:
        batch_inputs (Tensor | Sequence | Mapping): (B, C, H, W), or a nested structure of such tensors for a model of several inputs.

    Returns:
        tuple[int, int] | None: (H, W); None if there are no images, or images of different sizes.

    Example:
        >>> import torch
        >>> image = torch.zeros(2, 3, 32, 48)
        >>> get_image_size(image), get_image_size(dict(rgb=image, depth=image[:, :1])), get_image_size([image, image.mT])
        ((32, 48), (32, 48), None)
    """
    sizes = {(tensor.shape[2], tensor.shape[3]) for tensor in find_tensors(batch_inputs) if tensor.dim() == 4}
    return sizes.pop() if len(sizes) == 1 else None
