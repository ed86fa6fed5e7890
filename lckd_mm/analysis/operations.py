"""The number of tensor operations of a computation."""

import collections
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

VIEWS = frozenset(
    {
        '_unsafe_view', 'alias', 'as_strided', 'detach', 'diagonal', 'empty', 'empty_like', 'empty_strided', 'expand', 'lift_fresh',
        'new_empty', 'new_empty_strided', 'permute', 'select', 'slice', 'split', 'split_with_sizes', 'squeeze', 't', 'transpose', 'unbind',
        'unsqueeze', 'view',
    }
)  # fmt: skip
"""Operations that start no work on the device: views, and allocations of memory."""

SYNCHRONIZATIONS = frozenset(
    {
        '_linalg_check_errors', '_linalg_eigh', '_linalg_svd', '_local_scalar_dense', '_unique2', 'equal', 'masked_select', 'nonzero',
        'unique_dim',
    }
)  # fmt: skip
"""Operations for which the host waits: to read a value, a size that depends on values, or the error of a decomposition."""


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        result = function(*args, **(kwargs or {}))
        is_empty = isinstance(result, Tensor) and result.numel() == 0
        self.counts[name] += name not in VIEWS and not is_empty
        return result


def count_operations(function: Callable[[], object]) -> collections.Counter[str]:
    """Return the operations that reach the backend, those of a backward pass included, by name.

    Views, allocations and operations on empty tensors are not counted. On a GPU, most operations start one kernel.

    Args:
        function (Callable): The computation. Call it once before, if it fills caches.

    Returns:
        Counter: The number of each operation.

    Example:
        >>> import torch
        >>> count_operations(lambda: torch.ones(2, 2).mT @ torch.ones(2, 2))
        Counter({'ones': 2, 'mm': 1})
    """
    with _Counter() as counter:
        function()
    return +counter.counts
