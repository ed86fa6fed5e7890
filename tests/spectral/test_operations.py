"""The number of tensor operations of the Lipschitz loss under the plan for GPUs, counted on a CPU."""

import collections
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lckd_mm.models.losses import LipschitzLoss
from lckd_mm.spectral import pooling, spectral_norms_of_networks
from lckd_mm.spectral.planning import force_plan, make_plan

# They start no kernel: views and allocations of memory.
VIEWS = {
    '_unsafe_view', 'alias', 'as_strided', 'detach', 'diagonal', 'empty', 'empty_like', 'empty_strided', 'expand', 'lift_fresh',
    'new_empty', 'permute', 'select', 'slice', 'split', 'split_with_sizes', 't', 'transpose', 'unbind', 'unsqueeze', 'view',
}  # fmt: skip
# They wait for the device: to read a value, or to check for an error.
SYNCHRONIZATIONS = {
    '_linalg_check_errors',
    '_linalg_eigh',
    '_linalg_svd',
    '_local_scalar_dense',
    'equal',
    'masked_select',
    'nonzero',
}


class Counter(TorchDispatchMode):
    """Counts the operations that reach the backend, those of the backward pass included."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = collections.Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        result = function(*args, **(kwargs or {}))
        is_empty = isinstance(result, Tensor) and result.numel() == 0
        self.counts[name] += name not in VIEWS and not is_empty
        return result


def count_operations(function: Callable[[], object]) -> collections.Counter[str]:
    """Return the operations of the second call by name; the first one fills the caches."""
    function()
    with Counter() as counter:
        function()
    return +counter.counts


def stages(width: int, requires_grad: bool) -> list[Tensor]:
    """Return maps with the shapes of the stages of a ResNet, with a reduced number of channels."""
    generator = torch.Generator().manual_seed(width)
    return [
        torch.randn(8, width * 2**i, 56 // 2**i, 56 // 2**i, generator=generator).requires_grad_(requires_grad)
        for i in range(4)
    ]


def lipschitz_loss() -> Callable[[], object]:
    """Return a function that computes the loss of three pairs of an R50, and its gradient, under the plan for a GPU."""
    student, teacher, loss = stages(32, True), stages(32, False), LipschitzLoss(distance='log')
    # The channels of an R50, which the maps have an eighth of.
    pairs = tuple((256 * 2**i, 512 * 2**i, (28 // 2**i) ** 2) for i in range(3))
    plan = make_plan(pairs, 8, 'lanczos', 5, 4, 'cuda')
    assert plan.joint

    def compute() -> object:
        with force_plan(plan):
            norms = spectral_norms_of_networks([student, teacher])
        return torch.autograd.grad(loss(*norms), student)

    return compute


def test_the_plan_for_gpus_has_few_operations_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU, maps are pooled by one operation.
    monkeypatch.setattr(pooling, '_window_weights', lambda *args: None)
    counts = count_operations(lipschitz_loss())
    assert sum(counts.values()) <= 230, counts
    assert not SYNCHRONIZATIONS & set(counts)


def test_the_counter_sees_operations_and_synchronizations() -> None:
    x = torch.randn(4, 4, 4)
    counts = count_operations(lambda: (torch.bmm(x, x.mT) + 1).sum().item())
    assert counts == {'bmm': 1, 'add': 1, 'sum': 1, '_local_scalar_dense': 1}
    assert SYNCHRONIZATIONS & set(count_operations(lambda: torch.linalg.eigh(x)))
