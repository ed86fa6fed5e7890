"""Lanczos is accurate, never worse than the power iteration, and stable in degenerate cases."""

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import transmitting_spectral_norm
from tests.helpers.published_spectral_norm import published_transmitting_matrix

pytestmark = pytest.mark.usefixtures('every_solver')


def _maps_of_spectrum(values: Tensor, c1: int, c2: int, side: int, dtype: torch.dtype, seed: int) -> tuple:
    """Return maps whose transmitting matrix has these singular values: F1 = U S Q^T, F2 = V Q^T, with orthonormal Q."""
    generator = torch.Generator().manual_seed(seed)
    rank, n = len(values), side * side
    u, v, q = (
        torch.linalg.qr(torch.randn(rows, rank, generator=generator, dtype=torch.float64))[0] for rows in (c1, c2, n)
    )
    maps = (u * values @ q.T * n, v @ q.T)
    return tuple(m.reshape(1, -1, side, side).to(dtype) for m in maps)


def _spectrum(kind: str, ratio: float) -> Tensor:
    """Return singular values, the second of which is ``ratio`` times the first."""
    if kind == 'chebyshev':
        # The squares are the Chebyshev nodes of [0, ratio^2], the hardest spectrum for a polynomial of low degree.
        return torch.cat([torch.ones(1), ratio * torch.linspace(0, torch.pi / 2, 80, dtype=torch.float64).cos().abs()])
    index = torch.arange(16, dtype=torch.float64)
    if kind == 'geometric':
        return ratio**index
    if kind == 'flat':
        return torch.where(index == 0, 1.0, ratio).double()
    return torch.where(index == 0, 1.0, ratio / index.clamp_min(1)).double()


@pytest.mark.parametrize('kind', ['geometric', 'flat', 'harmonic', 'chebyshev'])
@pytest.mark.parametrize('ratio', [0.1, 0.3, 0.5])
def test_five_products_have_an_error_below_1e_4_up_to_a_ratio_of_one_half(kind: str, ratio: float) -> None:
    for seed in range(10):
        x, y = _maps_of_spectrum(_spectrum(kind, ratio), 96, 160, 12, torch.float32, seed)
        assert transmitting_spectral_norm(x, y).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('num_iters', [1, 2, 3, 5, 8])
@pytest.mark.parametrize('ratio', [0.1, 0.5, 0.9, 1.0])
def test_lanczos_is_never_below_the_power_iteration_and_never_above_the_exact_value(
    ratio: float, num_iters: int, dtype: torch.dtype
) -> None:
    rounding = 2e-6 if dtype == torch.float32 else 2e-14
    for seed in range(6):
        kind = ('geometric', 'harmonic', 'chebyshev')[seed % 3]
        x, y = _maps_of_spectrum(_spectrum(kind, ratio)[:40], 40, 56, 8, dtype, seed)
        if seed > 2:
            x, y = x.abs(), y.abs()  # As after a ReLU, where the all-ones start vector is close to the singular vector.
        exact = torch.linalg.svdvals(published_transmitting_matrix(x.double(), y.double()))[0, 0].item()
        lanczos = transmitting_spectral_norm(x, y, num_iters=num_iters).item()
        power = transmitting_spectral_norm(x, y, method='power', num_iters=num_iters).item()
        assert lanczos >= power * (1 - rounding)
        assert lanczos <= exact * (1 + rounding)


@pytest.mark.parametrize('rank', [1, 2, 3])
@pytest.mark.parametrize('num_iters', [5, 20])
def test_more_products_than_the_rank_keep_the_accuracy(rank: int, num_iters: int) -> None:
    for seed in range(10):
        x, y = _maps_of_spectrum(_spectrum('harmonic', 0.7)[:rank], 40, 24, 6, torch.float32, seed)
        assert transmitting_spectral_norm(x, y, num_iters=num_iters).item() == pytest.approx(1, rel=3e-6)


def test_more_products_than_channels_keep_the_accuracy() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, c, 5, 5, generator=generator) for c in (3, 2))
    exact = torch.linalg.svdvals(published_transmitting_matrix(x.double(), y.double()))[:, 0]
    torch.testing.assert_close(transmitting_spectral_norm(x, y, num_iters=12).double(), exact, rtol=1e-6, atol=0)


def test_channels_that_sum_to_zero_as_after_a_layer_norm_keep_the_accuracy() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = _maps_of_spectrum(_spectrum('harmonic', 0.5), 64, 48, 8, torch.float64, 0)
    x = x - x.mean(1, keepdim=True)
    x[:, 1] -= x.sum(1)  # The remainder of the rounding, so that the channels sum to zero exactly where possible.
    exact = torch.linalg.svdvals(published_transmitting_matrix(x, y))[:, 0]
    torch.testing.assert_close(transmitting_spectral_norm(x, y), exact, rtol=1e-4, atol=0)
    pairs = torch.randn(1, 4, 6, 6, generator=generator)
    mirrored = torch.cat([pairs, -pairs], 1)
    exact = torch.linalg.svdvals(published_transmitting_matrix(mirrored.double(), mirrored.double()))[:, 0]
    torch.testing.assert_close(transmitting_spectral_norm(mirrored, mirrored).double(), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize('scale', [1e-6, 1e6])
def test_the_relative_accuracy_is_independent_of_the_scale_of_the_maps(scale: float) -> None:
    x, y = _maps_of_spectrum(_spectrum('geometric', 0.4), 40, 56, 8, torch.float32, 0)
    ratio = transmitting_spectral_norm(x * scale, y * scale) / scale**2
    assert ratio.item() == pytest.approx(1, rel=1e-4)
