"""The norms of several networks, computed together."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import spectral_norms_of_networks, transmitting_matrix

pytestmark = pytest.mark.usefixtures('every_solver')


def network(
    widths: tuple[int, ...], batch: int = 3, dtype: torch.dtype = torch.float64, requires_grad: bool = False
) -> list[Tensor]:
    """Return maps of halving size."""
    generator = torch.Generator().manual_seed(sum(widths))
    return [
        torch.randn(batch, width, 12 >> i, 8 >> i, generator=generator, dtype=torch.float64)
        .to(dtype)
        .requires_grad_(requires_grad)
        for i, width in enumerate(widths)
    ]


def exact(maps: list[Tensor]) -> Tensor:
    """Return the norms from singular value decompositions in float64."""
    maps = [feature.double() for feature in maps]
    return torch.stack([torch.linalg.matrix_norm(transmitting_matrix(x, y), 2) for x, y in pairwise(maps)])


def test_networks_of_different_widths_and_numbers_of_maps_have_the_exact_norms_and_gradients() -> None:
    # The student has fewer channels and one map less; the teacher's norms are given first.
    teacher, student = network((5, 9, 6, 7)), network((2, 4, 3), requires_grad=True)
    norms = spectral_norms_of_networks([teacher, student], num_iters=9)
    expected = [exact(teacher), exact(student)]
    torch.testing.assert_close(norms, expected)
    assert not norms[0].requires_grad
    loss, expected_loss = ((pair[1] - pair[0][1:]).square().sum() for pair in (norms, expected))
    actual, reference = (torch.autograd.grad(value, student) for value in (loss, expected_loss))
    torch.testing.assert_close(actual, reference, rtol=1e-6, atol=1e-9)


def test_two_networks_with_gradients_receive_their_own() -> None:
    first, second = network((3, 4), requires_grad=True), network((6, 5), requires_grad=True)
    norms = spectral_norms_of_networks([first, second], num_iters=9)
    actual = torch.autograd.grad((norms[0] * norms[1]).sum(), [*first, *second])
    reference = torch.autograd.grad((exact(first) * exact(second)).sum(), [*first, *second])
    torch.testing.assert_close(actual, reference, rtol=1e-6, atol=1e-9)


def test_a_network_whose_norms_are_not_used_has_no_gradient() -> None:
    first, second = network((3, 4), requires_grad=True), network((6, 5), requires_grad=True)
    spectral_norms_of_networks([first, second])[1].sum().backward()
    assert all(feature.grad is None or not feature.grad.any() for feature in first)
    assert all(feature.grad.any() for feature in second)


@pytest.mark.parametrize('other', [dict(batch=2), dict(dtype=torch.float32), dict(batch=0)], ids=str)
def test_networks_that_cannot_be_joined_are_computed_one_by_one(other: dict) -> None:
    networks = [network((3, 4)), network((6, 5), **other)]
    for norms, maps in zip(spectral_norms_of_networks(networks, num_iters=9), networks):
        torch.testing.assert_close(norms.double(), exact(maps) if len(maps[0]) else torch.zeros(1, 0).double())


def test_padding_is_excluded_in_every_network() -> None:
    networks = [network((3, 4)), network((6, 5, 4))]
    ratios = torch.tensor([[1.0, 1.0], [0.5, 1.0], [1.0, 0.5]], dtype=torch.float64)
    cropped = [[feature[2:3, :, :, : feature.shape[3] // 2] for feature in maps] for maps in networks]
    norms = spectral_norms_of_networks(networks, num_iters=9, valid_ratios=ratios)
    for padded, maps in zip(norms, cropped):
        torch.testing.assert_close(padded[:, 2:], exact(maps))


def test_one_network_that_is_not_finite_leaves_the_other_unchanged() -> None:
    broken, sound = network((3, 4)), network((6, 5))
    broken[0][1, 0, 0, 0] = torch.inf
    norms = spectral_norms_of_networks([broken, sound], num_iters=9)
    torch.testing.assert_close(norms[1], exact(sound))
    assert norms[0].isfinite().tolist() == [[True, False, True]]


def test_grids_of_another_number_of_networks_are_refused() -> None:
    with pytest.raises(ValueError, match='grids has 1 entries for 2 networks'):
        spectral_norms_of_networks([network((3, 4)), network((6, 5))], grids=[None])
