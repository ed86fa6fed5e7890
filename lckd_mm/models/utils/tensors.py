"""The tensors of nested containers."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def find_tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested sequences and dicts.

    Args:
        value (Any): A tensor, or a list, a tuple or a dict whose elements may be such containers; anything else has no tensors.

    Yields:
        Tensor: The tensors, in their order.

    Example:
        >>> import torch
        >>> [tensor.item() for tensor in find_tensors([torch.tensor(1), dict(a=(torch.tensor(2), 'b'))])]
        [1, 2]
    """
    if isinstance(value, Tensor):
        yield value
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    for item in items:
        yield from find_tensors(item)
