"""The number of tensor operations of the Lipschitz loss under the plan for GPUs, counted on a CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lckd_mm.analysis.operations import SYNCHRONIZATIONS, count_operations
from lckd_mm.models.losses import LipschitzLoss
from lckd_mm.spectral import pooling, spectral_norms_of_networks
from lckd_mm.spectral.planning import force_plan, make_plan


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
    compute = lipschitz_loss()
    # The first call fills the caches.
    compute()
    counts = count_operations(compute)
    assert sum(counts.values()) <= 230, counts
    assert not SYNCHRONIZATIONS & set(counts)
