"""The spectral norm on a GPU, against the SVD of a float64 matrix on the CPU."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lckd_mm.spectral import (
    METHODS,
    spectral_norms_of_networks,
    transmitting_spectral_norm,
    transmitting_spectral_norms,
)

pytestmark = pytest.mark.gpu

SHAPES = {
    'pooled': ((8, 64, 56, 56), (8, 128, 28, 28)),
    'no integer ratio': ((4, 48, 33, 50), (4, 96, 16, 25)),
    'equal sizes': ((4, 256, 33, 33), (4, 512, 33, 33)),
    'one position': ((8, 256, 3, 3), (8, 256, 1, 1)),
    'one channel': ((2, 1, 40, 40), (2, 300, 20, 20)),
}
# The gradient depends on the gap between the singular values; the value does not.
TOLERANCES = {
    torch.float64: (1e-10, 1e-6),
    torch.float32: (1e-5, 1e-3),
    torch.float16: (1e-5, 1e-2),
    torch.bfloat16: (1e-5, 5e-2),
}


@pytest.fixture(autouse=True)
def _tf32() -> Iterator[None]:
    """Allow TF32, as trainings do: the norms must not use it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def _pair(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    # A common component makes the largest singular value stand out, as in the maps of a network.
    return tuple(
        (torch.randn(*shape, generator=generator) + torch.randn(shape[:2], generator=generator)[..., None, None]).to(
            dtype
        )
        for shape in SHAPES[name]
    )


def _reference(x: Tensor, y: Tensor, ratios: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the norms and their gradients for float64 maps of whole images."""
    x, y = (feature.double().clone().requires_grad_() for feature in (x, y))
    pooled = F.adaptive_avg_pool2d(x, y.shape[2:]) if x.shape[2:] != y.shape[2:] else x
    matrix = torch.einsum('bchw,bdhw->bcd', pooled, y) / y[0, 0].numel()
    norms = torch.linalg.svdvals(matrix)[:, 0]
    return norms.detach(), *torch.autograd.grad(norms.sum(), (x, y))


def _relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double().cpu() - expected).norm() / expected.norm())


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('dtype', TOLERANCES, ids=str)
@pytest.mark.parametrize('name', SHAPES)
def test_norms_and_gradients_equal_the_svd(name: str, dtype: torch.dtype, layout: torch.memory_format) -> None:
    x, y = _pair(name, dtype)
    expected, *gradients = _reference(x, y)
    maps = [feature.cuda().contiguous(memory_format=layout).requires_grad_() for feature in (x, y)]
    norms = transmitting_spectral_norm(*maps, num_iters=12)
    assert norms.is_cuda
    assert _relative_error(norms, expected) < TOLERANCES[dtype][0]
    norms.sum().backward()
    for feature, gradient in zip(maps, gradients):
        assert feature.grad.dtype == dtype
        assert _relative_error(feature.grad, gradient) < TOLERANCES[dtype][1]


@pytest.mark.parametrize('method', METHODS)
def test_every_method_computes_the_norm(method: str) -> None:
    x, y = _pair('pooled', torch.float32)
    expected, *_ = _reference(x, y)
    norms = transmitting_spectral_norm(x.cuda(), y.cuda(), method=method, num_iters=30)
    assert _relative_error(norms, expected) < 1e-5


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_norms_under_autocast_are_float32(dtype: torch.dtype) -> None:
    x, y = (feature.cuda() for feature in _pair('pooled', torch.float32))
    expected = transmitting_spectral_norm(x, y)
    with torch.autocast('cuda', dtype):
        norms = transmitting_spectral_norm(x, y)
    assert norms.dtype == torch.float32
    torch.testing.assert_close(norms, expected, rtol=0, atol=0)


@pytest.mark.parametrize(('first', 'second'), [((36, 48), (36, 24)), ((36, 48), (24, 3, 3))])
def test_tokens_and_degenerate_maps_run(first: tuple, second: tuple) -> None:
    x, y = (torch.randn(2, *shape, device='cuda', requires_grad=True) for shape in (first, second))
    zero = torch.zeros_like(x, requires_grad=True)
    grids = [(6, 6), None if y.dim() == 4 else (6, 6)]
    norms = transmitting_spectral_norms([x, y], grids=grids)
    assert (norms > 0).all()
    nothing = transmitting_spectral_norms([zero, y], grids=grids)
    assert (nothing == 0).all()
    (norms.sum() + nothing.sum()).backward()
    assert zero.grad.abs().sum() == 0
    assert all(feature.grad.isfinite().all() for feature in (x, y))


def test_padding_is_excluded() -> None:
    x, y = _pair('pooled', torch.float32)
    x, y = x[:2], y[:2]
    expected, *_ = _reference(x[:, :, :28, :], y[:, :, :14, :])
    x[:, :, 28:], y[:, :, 14:] = 1e3, -1e3
    ratios = torch.tensor([[0.5, 1.0], [0.5, 1.0]])
    norms = transmitting_spectral_norm(x.cuda(), y.cuda(), num_iters=12, valid_ratios=ratios.cuda())
    assert _relative_error(norms, expected) < 1e-5


def test_a_non_finite_map_affects_its_own_image_alone() -> None:
    x, y = (feature.cuda() for feature in _pair('pooled', torch.float32))
    expected = transmitting_spectral_norm(x, y)
    x[3, 0, 0, 0] = float('nan')
    norms = transmitting_spectral_norm(x, y)
    assert norms[3].isnan()
    others = [index for index in range(8) if index != 3]
    torch.testing.assert_close(norms[others], expected[others], rtol=1e-6, atol=0)


def test_the_memory_of_the_backward_pass_is_that_of_the_gradients() -> None:
    maps: list[Any] = [torch.randn(32, 64 * 2**i, 64 // 2**i, 64 // 2**i, device='cuda') for i in range(3)]
    gradients = sum(feature.numel() * 4 for feature in maps)
    maps = [feature.requires_grad_() for feature in maps]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    transmitting_spectral_norms(maps).sum().backward()
    peak = torch.cuda.max_memory_allocated() - before
    # The pooled maps and the operands of their products are added: half a map each at the most.
    assert peak < 2.5 * gradients


def _networks() -> list[list[Tensor]]:
    """Return three maps of a student, with gradients, and of a wider teacher."""
    generator = torch.Generator().manual_seed(0)
    return [
        [
            (torch.randn(4, width << i, 16 >> i, 16 >> i, generator=generator) + 1)
            .cuda()
            .requires_grad_(needs_gradient)
            for i in range(3)
        ]
        for width, needs_gradient in ((8, True), (32, False))
    ]


def test_two_networks_at_a_time_equal_the_svd() -> None:
    student, teacher = networks = _networks()
    norms = spectral_norms_of_networks(networks, num_iters=9)
    for maps, pair_norms in zip(networks, norms):
        for x, y, actual in zip(maps, maps[1:], pair_norms):
            assert _relative_error(actual.detach(), _reference(x.detach().cpu(), y.detach().cpu())[0]) < 1e-5
    (norms[0] / norms[1]).sum().backward()
    assert all(feature.grad.isfinite().all() and feature.grad.any() for feature in student)
    assert all(feature.grad is None for feature in teacher)


def test_the_host_does_not_wait_for_the_device() -> None:
    student, teacher = _networks()

    def step() -> None:
        norms = spectral_norms_of_networks([student, teacher])
        torch.autograd.grad((norms[0].log() - norms[1].log()).square().sum(), student)

    # The first call copies constants to the device.
    step()
    torch.cuda.set_sync_debug_mode('error')
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode('default')
