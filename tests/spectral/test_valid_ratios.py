"""Padded batches: what is outside an image does not count."""

import functools
from typing import Optional

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import METHODS, transmitting_spectral_norm, transmitting_spectral_norms
from lckd_mm.spectral.cost_model import Plan


def _randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _weighted_svd(x: Tensor, y: Tensor, extents: Tensor) -> Tensor:
    """Position by position, image by image, with the SVD in float64."""
    sigmas = []
    height, width = y.shape[2:]
    ratio = x.shape[2] // height
    for image, (down, across) in enumerate(extents.double().tolist()):
        matrix, total = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64), 0.0
        for row in range(height):
            for column in range(width):
                covered = min(max(down * height - row, 0), 1) * min(max(across * width - column, 0), 1)
                window = x[image, :, row * ratio : (row + 1) * ratio, column * ratio : (column + 1) * ratio]
                matrix += covered * torch.outer(window.double().mean((1, 2)), y[image, :, row, column].double())
                total += covered
        sigmas.append(torch.linalg.svdvals(matrix / total)[0])
    return torch.stack(sigmas)


EXTENTS = torch.tensor([[1.0, 1.0], [0.5, 1.0], [0.8, 0.55]], dtype=torch.float64)


@pytest.mark.parametrize('plan', [None, Plan(1, (False,)), Plan(2, (True,)), Plan(3, (True,))], ids=str)
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('channels', [(6, 9), (9, 6)])
def test_each_position_counts_by_the_part_that_lies_in_its_image(
    channels: tuple, method: str, plan: Optional[Plan]
) -> None:
    x, y = _randn(3, channels[0], 8, 10), _randn(3, channels[1], 4, 5, seed=1)
    n_iters = 500 if method == 'power' else 9
    sigma = transmitting_spectral_norms((x, y), method=method, n_iters=n_iters, plan=plan, extents=EXTENTS)[0]
    torch.testing.assert_close(sigma, _weighted_svd(x, y, EXTENTS), rtol=1e-9, atol=0)


@pytest.mark.parametrize('plan', [Plan(2, (False,)), Plan(2, (True,))], ids=str)
@pytest.mark.parametrize('method', METHODS)
def test_the_gradient_is_right_and_nothing_goes_to_the_padding(method: str, plan: Plan) -> None:
    x, y = _randn(3, 4, 6, 4).requires_grad_(), _randn(3, 5, 3, 2, seed=1).requires_grad_()
    extents = torch.tensor([[1.0, 1.0], [1 / 3, 1.0], [0.5, 0.5]])
    # The derivative of the power iteration is exact however few its steps; Lanczos' is once it has converged.
    n_iters = 3 if method == 'power' else 9
    function = functools.partial(
        transmitting_spectral_norms, method=method, n_iters=n_iters, plan=plan, extents=extents
    )
    assert torch.autograd.gradcheck(lambda *maps: function(maps), (x, y))
    function((x, y)).sum().backward()
    # A third is none in float32.
    assert max(x.grad[1, :, 2:].abs().max(), y.grad[1, :, 1:].abs().max()) < 1e-7
    assert y.grad[2, :, 2].abs().max() == y.grad[2, :, :, 1].abs().max() == 0
    assert x.grad[0].abs().min() > 0


def test_whole_images_have_the_norm_they_have_without_extents() -> None:
    maps = [_randn(2, 8 * 2**i, 16 // 2**i, 12 // 2**i, seed=i, dtype=torch.float32) for i in range(3)]
    whole = transmitting_spectral_norms(maps, extents=torch.ones(2, 2))
    torch.testing.assert_close(whole, transmitting_spectral_norms(maps), rtol=1e-6, atol=0)


def test_a_padded_image_has_the_norm_of_itself_alone() -> None:
    alone = [_randn(1, 8, 16, 12), _randn(1, 16, 8, 6, seed=1)]
    # Whatever the padding has become behind a few convolutions.
    padded = [torch.nn.functional.pad(one, (0, one.shape[3], 0, one.shape[2] // 2), value=3.0) for one in alone]
    sigma = transmitting_spectral_norm(*padded, n_iters=9, extents=torch.tensor([[2 / 3, 1 / 2]], dtype=torch.float64))
    torch.testing.assert_close(sigma, transmitting_spectral_norm(*alone, n_iters=9), rtol=1e-9, atol=0)
    assert (transmitting_spectral_norm(*padded) / sigma - 1).abs() > 0.1


def test_tokens_that_are_not_pooled_count_all() -> None:
    x, y = _randn(2, 15, 6), _randn(2, 15, 5, seed=1)
    torch.testing.assert_close(
        transmitting_spectral_norm(x, y, extents=torch.full((2, 2), 0.5)), transmitting_spectral_norm(x, y)
    )


@pytest.mark.parametrize(
    ('extents', 'error', 'message'),
    [
        (torch.ones(3, 2), ValueError, r'extents has shape \(3, 2\).* of 2 images: give \(2, 2\)'),
        (torch.ones(2), ValueError, r'shape \(2,\)'),
        (torch.ones(2, 2, dtype=torch.int64), TypeError, 'extents is torch.int64'),
        ([[1.0, 1.0]], TypeError, 'extents is list'),
    ],
)
def test_bad_extents_are_refused_by_name(extents: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        transmitting_spectral_norm(_randn(2, 3, 4, 4), _randn(2, 3, 4, 4), extents=extents)
