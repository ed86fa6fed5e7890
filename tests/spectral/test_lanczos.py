"""What is promised of Lanczos: its accuracy, that it is never worse than power, and that nothing breaks it."""

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import transmitting_spectral_norm

from .published import published_transmitting_matrix


def _maps_of_spectrum(values: Tensor, c1: int, c2: int, side: int, dtype: torch.dtype, seed: int) -> tuple:
    """Maps whose transmitting matrix has the given singular values: F1 = U S Q^T, F2 = V Q^T with orthonormal Q."""
    generator = torch.Generator().manual_seed(seed)
    rank, n = len(values), side * side
    u, v, q = (
        torch.linalg.qr(torch.randn(rows, rank, generator=generator, dtype=torch.float64))[0] for rows in (c1, c2, n)
    )
    maps = (u * values @ q.T * n, v @ q.T)
    return tuple(m.reshape(1, -1, side, side).to(dtype) for m in maps)


def _spectrum(kind: str, ratio: float) -> Tensor:
    """Singular values, the second ``ratio`` times the first."""
    if kind == 'chebyshev':
        # The squares lie at the Chebyshev nodes of [0, ratio^2]: the hardest for a polynomial of low degree.
        return torch.cat([torch.ones(1), ratio * torch.linspace(0, torch.pi / 2, 80, dtype=torch.float64).cos().abs()])
    index = torch.arange(16, dtype=torch.float64)
    if kind == 'geometric':
        return ratio**index
    if kind == 'flat':
        return torch.where(index == 0, 1.0, ratio).double()
    return torch.where(index == 0, 1.0, ratio / index.clamp_min(1)).double()


@pytest.mark.parametrize('kind', ['geometric', 'flat', 'harmonic', 'chebyshev'])
@pytest.mark.parametrize('ratio', [0.1, 0.3, 0.5])
def test_five_products_are_within_1e_4_up_to_a_ratio_of_one_half(kind: str, ratio: float) -> None:
    for seed in range(10):
        x, y = _maps_of_spectrum(_spectrum(kind, ratio), 96, 160, 12, torch.float32, seed)
        assert transmitting_spectral_norm(x, y).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('n_iters', [1, 2, 3, 5, 8])
@pytest.mark.parametrize('ratio', [0.1, 0.5, 0.9, 1.0])
def test_never_below_power_and_never_above_the_exact_value(ratio: float, n_iters: int, dtype: torch.dtype) -> None:
    rounding = 2e-6 if dtype == torch.float32 else 2e-14
    for seed in range(6):
        kind = ('geometric', 'harmonic', 'chebyshev')[seed % 3]
        x, y = _maps_of_spectrum(_spectrum(kind, ratio)[:40], 40, 56, 8, dtype, seed)
        if seed > 2:
            x, y = x.abs(), y.abs()  # as after a ReLU: the all-ones start is a good one
        exact = torch.linalg.svdvals(published_transmitting_matrix(x.double(), y.double()))[0, 0].item()
        lanczos = transmitting_spectral_norm(x, y, n_iters=n_iters).item()
        power = transmitting_spectral_norm(x, y, method='power', n_iters=n_iters).item()
        assert lanczos >= power * (1 - rounding)
        assert lanczos <= exact * (1 + rounding)


@pytest.mark.parametrize('rank', [1, 2, 3])
@pytest.mark.parametrize('n_iters', [5, 20])
def test_products_beyond_the_rank_do_no_harm(rank: int, n_iters: int) -> None:
    for seed in range(10):
        x, y = _maps_of_spectrum(_spectrum('harmonic', 0.7)[:rank], 40, 24, 6, torch.float32, seed)
        assert transmitting_spectral_norm(x, y, n_iters=n_iters).item() == pytest.approx(1, rel=3e-6)


def test_more_products_than_channels_do_no_harm() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, c, 5, 5, generator=generator) for c in (3, 2))
    exact = torch.linalg.svdvals(published_transmitting_matrix(x.double(), y.double()))[:, 0]
    torch.testing.assert_close(transmitting_spectral_norm(x, y, n_iters=12).double(), exact, rtol=1e-6, atol=0)


def test_tokens_after_a_layer_norm_whose_channels_sum_to_zero_are_measured_as_well_as_others() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = _maps_of_spectrum(_spectrum('harmonic', 0.5), 64, 48, 8, torch.float64, 0)
    x = x - x.mean(1, keepdim=True)
    x[:, 1] -= x.sum(1)  # to the last bit, as far as a sum can be
    exact = torch.linalg.svdvals(published_transmitting_matrix(x, y))[:, 0]
    torch.testing.assert_close(transmitting_spectral_norm(x, y), exact, rtol=1e-4, atol=0)
    pairs = torch.randn(1, 4, 6, 6, generator=generator)
    mirrored = torch.cat([pairs, -pairs], 1)
    exact = torch.linalg.svdvals(published_transmitting_matrix(mirrored.double(), mirrored.double()))[:, 0]
    torch.testing.assert_close(transmitting_spectral_norm(mirrored, mirrored).double(), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize('scale', [1e-6, 1e6])
def test_the_scale_of_the_maps_does_not_matter(scale: float) -> None:
    x, y = _maps_of_spectrum(_spectrum('geometric', 0.4), 40, 56, 8, torch.float32, 0)
    ratio = transmitting_spectral_norm(x * scale, y * scale) / scale**2
    assert ratio.item() == pytest.approx(1, rel=1e-4)
