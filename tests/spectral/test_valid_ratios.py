"""Padded batches: positions outside of an image are ignored."""

import functools

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import METHODS, transmitting_spectral_norm, transmitting_spectral_norms
from lckd_mm.spectral.planning import Plan
from tests.helpers.planned_norms import planned_norms

pytestmark = pytest.mark.usefixtures('every_solver')


def _randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _weighted_svd(x: Tensor, y: Tensor, valid_ratios: Tensor) -> Tensor:
    """Compute the norms position by position and image by image, with the SVD in float64."""
    sigmas = []
    height, width = y.shape[2:]
    ratio = x.shape[2] // height
    for image, (height_ratio, width_ratio) in enumerate(valid_ratios.double().tolist()):
        matrix, total = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64), 0.0
        for row in range(height):
            for column in range(width):
                covered = min(max(height_ratio * height - row, 0), 1) * min(max(width_ratio * width - column, 0), 1)
                window = x[image, :, row * ratio : (row + 1) * ratio, column * ratio : (column + 1) * ratio]
                matrix += covered * torch.outer(window.double().mean((1, 2)), y[image, :, row, column].double())
                total += covered
        sigmas.append(torch.linalg.svdvals(matrix / total)[0])
    return torch.stack(sigmas)


VALID_RATIOS = torch.tensor([[1.0, 1.0], [0.5, 1.0], [0.8, 0.55]], dtype=torch.float64)


@pytest.mark.parametrize('plan', [None, Plan(1, (False,)), Plan(2, (True,)), Plan(3, (True,))], ids=str)
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('channels', [(6, 9), (9, 6)])
def test_each_position_is_weighted_by_the_share_of_its_cell_inside_the_image(
    channels: tuple, method: str, plan: Plan | None
) -> None:
    x, y = _randn(3, channels[0], 8, 10), _randn(3, channels[1], 4, 5, seed=1)
    num_iters = 500 if method == 'power' else 9
    sigma = planned_norms((x, y), method=method, num_iters=num_iters, plan=plan, valid_ratios=VALID_RATIOS)[0]
    torch.testing.assert_close(sigma, _weighted_svd(x, y, VALID_RATIOS), rtol=1e-9, atol=0)


@pytest.mark.parametrize('plan', [Plan(2, (False,)), Plan(2, (True,))], ids=str)
@pytest.mark.parametrize('method', METHODS)
def test_the_gradient_is_correct_and_zero_in_the_padding(method: str, plan: Plan) -> None:
    x, y = _randn(3, 4, 6, 4).requires_grad_(), _randn(3, 5, 3, 2, seed=1).requires_grad_()
    valid_ratios = torch.tensor([[1.0, 1.0], [1 / 3, 1.0], [0.5, 0.5]])
    # The gradient of the power iteration is exact for any number of steps, the gradient of Lanczos after convergence.
    num_iters = 3 if method == 'power' else 9
    function = functools.partial(
        planned_norms, method=method, num_iters=num_iters, plan=plan, valid_ratios=valid_ratios
    )
    assert torch.autograd.gradcheck(lambda *maps: function(maps), (x, y))
    function((x, y)).sum().backward()
    # float32 does not represent 1/3 exactly.
    assert max(x.grad[1, :, 2:].abs().max(), y.grad[1, :, 1:].abs().max()) < 1e-7
    assert y.grad[2, :, 2].abs().max() == y.grad[2, :, :, 1].abs().max() == 0
    assert x.grad[0].abs().min() > 0


def test_valid_ratios_of_one_change_nothing() -> None:
    maps = [_randn(2, 8 * 2**i, 16 // 2**i, 12 // 2**i, seed=i, dtype=torch.float32) for i in range(3)]
    sigma = transmitting_spectral_norms(maps, valid_ratios=torch.ones(2, 2))
    torch.testing.assert_close(sigma, transmitting_spectral_norms(maps), rtol=1e-6, atol=0)


def test_a_padded_image_has_the_norm_of_the_unpadded_image() -> None:
    unpadded = [_randn(1, 8, 16, 12), _randn(1, 16, 8, 6, seed=1)]
    # After a few convolutions the padding is not zero.
    padded = [
        torch.nn.functional.pad(feature, (0, feature.shape[3], 0, feature.shape[2] // 2), value=3.0)
        for feature in unpadded
    ]
    sigma = transmitting_spectral_norm(
        *padded, num_iters=9, valid_ratios=torch.tensor([[2 / 3, 1 / 2]], dtype=torch.float64)
    )
    torch.testing.assert_close(sigma, transmitting_spectral_norm(*unpadded, num_iters=9), rtol=1e-9, atol=0)
    assert (transmitting_spectral_norm(*padded) / sigma - 1).abs() > 0.1


def test_valid_ratios_do_not_apply_to_unpooled_tokens_without_a_grid() -> None:
    x, y = _randn(2, 15, 6), _randn(2, 15, 5, seed=1)
    torch.testing.assert_close(
        transmitting_spectral_norm(x, y, valid_ratios=torch.full((2, 2), 0.5)), transmitting_spectral_norm(x, y)
    )


@pytest.mark.parametrize(
    ('valid_ratios', 'error', 'message'),
    [
        (
            torch.ones(3, 2),
            ValueError,
            r'valid_ratios has shape \(3, 2\), but must be \(2, 2\) for a batch of 2 images',
        ),
        (torch.ones(2), ValueError, r'shape \(2,\)'),
        (torch.ones(2, 2, dtype=torch.int64), TypeError, 'valid_ratios is torch.int64'),
        ([[1.0, 1.0]], TypeError, 'valid_ratios is list'),
    ],
)
def test_invalid_valid_ratios_raise_an_error_with_their_type_or_shape(
    valid_ratios: object, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        transmitting_spectral_norm(_randn(2, 3, 4, 4), _randn(2, 3, 4, 4), valid_ratios=valid_ratios)
