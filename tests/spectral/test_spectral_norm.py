"""Values, gradients, data types and argument checks of the public functions."""

import functools
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import METHODS, transmitting_matrix, transmitting_spectral_norm
from tests.helpers.published_spectral_norm import published_spectral_norm, published_transmitting_matrix

pytestmark = pytest.mark.usefixtures('every_solver')

SHAPES = {
    'pooled': ((3, 6, 8, 8), (3, 9, 4, 4)),
    'same size': ((2, 7, 5, 5), (2, 4, 5, 5)),
    'one channel': ((2, 1, 6, 6), (2, 5, 3, 3)),
    'one channel each': ((2, 1, 4, 4), (2, 1, 4, 4)),
    'one pixel': ((2, 6, 4, 4), (2, 5, 1, 1)),
    'batch of one': ((1, 6, 4, 4), (1, 5, 2, 2)),
    'other aspect ratio': ((2, 6, 12, 4), (2, 5, 3, 5)),
    'no integer ratio': ((2, 6, 7, 9), (2, 5, 3, 4)),
    'first smaller': ((2, 6, 3, 3), (2, 5, 6, 6)),
    'tokens': ((2, 16, 6), (2, 16, 5)),
    'a map of as many positions after tokens': ((2, 16, 6), (2, 5, 4, 4)),
    'odd number of tokens with a class token': ((2, 17, 6), (2, 17, 5)),
}


def _randn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _pair(name: str, dtype: torch.dtype = torch.float64) -> tuple:
    first, second = SHAPES[name]
    return _randn(*first, dtype=dtype), _randn(*second, dtype=dtype, seed=1)


def _svd_sigma(x: Tensor, y: Tensor) -> Tensor:
    """Compute the reference by the SVD of a float64 matrix, for equal sizes or an integer pooling ratio."""
    x, y = x.double(), y.double()
    if x.shape[2] != y.shape[2]:
        ratio = x.shape[2] // y.shape[2]
        x = x.unfold(2, ratio, ratio).unfold(3, ratio, ratio).mean((-1, -2))
    matrix = torch.einsum('bchw,bdhw->bcd', x, y) / (y.shape[2] * y.shape[3])
    return torch.linalg.svdvals(matrix)[:, 0]


def test_transmitting_matrix_equals_the_published_matrix() -> None:
    x, y = _pair('pooled')
    torch.testing.assert_close(transmitting_matrix(x, y), published_transmitting_matrix(x, y))
    assert transmitting_matrix(x, y).shape == (3, 6, 9)


def test_tokens_have_the_transmitting_matrix_of_the_map_with_the_same_positions() -> None:
    x, y = _randn(2, 6, 4, 4), _randn(2, 5, 4, 4, seed=1)
    tokens = transmitting_matrix(x.flatten(2).transpose(1, 2), y.flatten(2).transpose(1, 2))
    torch.testing.assert_close(tokens, transmitting_matrix(x, y))


@pytest.mark.parametrize('name', SHAPES)
@pytest.mark.parametrize('method', METHODS)
def test_the_norm_of_every_shape_is_the_norm_of_its_transmitting_matrix(name: str, method: str) -> None:
    x, y = _pair(name)
    expected = torch.linalg.matrix_norm(transmitting_matrix(x, y), ord=2)
    sigma = transmitting_spectral_norm(x, y, method=method, num_iters=500 if method == 'power' else 9)
    torch.testing.assert_close(sigma, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize('name', SHAPES)
@pytest.mark.parametrize('method', METHODS)
def test_the_gradient_is_correct_in_both_arguments(name: str, method: str) -> None:
    x, y = (t.requires_grad_() for t in _pair(name))
    # The gradient of the power iteration is exact for any number of steps, the gradient of Lanczos after convergence.
    num_iters = 3 if method == 'power' else 9
    function = functools.partial(transmitting_spectral_norm, method=method, num_iters=num_iters)
    # Large maps are checked along random directions, small maps element by element.
    assert torch.autograd.gradcheck(function, (x, y), fast_mode=x.numel() > 100)


@pytest.mark.parametrize('num_iters', [1, 2, 5, 10])
@pytest.mark.parametrize('name', ['pooled', 'same size', 'one channel', 'one pixel', 'batch of one'])
def test_power_equals_the_published_iteration_in_value_and_gradient(name: str, num_iters: int) -> None:
    x, y = (t.requires_grad_() for t in _pair(name))
    weights = torch.arange(1.0, x.shape[0] + 1, dtype=x.dtype)
    published = published_spectral_norm(x, y, num_iters, start=x.new_ones(x.shape[1]))
    expected = torch.autograd.grad(published @ weights, (x, y))
    ours = transmitting_spectral_norm(x, y, method='power', num_iters=num_iters)
    torch.testing.assert_close(ours, published, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.autograd.grad(ours @ weights, (x, y)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('method', METHODS)
def test_the_gradient_equals_autograd_through_the_svd(method: str) -> None:
    x, y = (t.requires_grad_() for t in _pair('same size'))
    expected = torch.autograd.grad(torch.linalg.matrix_norm(transmitting_matrix(x, y), ord=2).sum(), (x, y))
    num_iters = 500 if method == 'power' else 7
    ours = torch.autograd.grad(transmitting_spectral_norm(x, y, method=method, num_iters=num_iters).sum(), (x, y))
    torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-10)


def test_lanczos_with_five_products_has_an_error_below_1e_4_before_the_relu(pre_activations: list) -> None:
    for x, y in itertools.pairwise(pre_activations):
        error = transmitting_spectral_norm(x, y) / _svd_sigma(x, y) - 1
        assert error.abs().max() < 1e-4


def test_lanczos_with_five_products_is_more_accurate_than_power_with_ten_before_the_relu(pre_activations: list) -> None:
    for x, y in itertools.pairwise(pre_activations):
        exact = _svd_sigma(x, y)
        lanczos = (transmitting_spectral_norm(x, y) / exact - 1).abs().max()
        power = (transmitting_spectral_norm(x, y, method='power', num_iters=10) / exact - 1).abs().max()
        assert lanczos < max(power, 1e-6)


def test_svd_has_an_error_below_1e_6_in_float32(pre_activations: list) -> None:
    for x, y in itertools.pairwise(pre_activations):
        torch.testing.assert_close(
            transmitting_spectral_norm(x, y, method='svd').double(), _svd_sigma(x, y), rtol=1e-6, atol=0
        )


@pytest.mark.parametrize('zero', ['x', 'y', 'both', 'one image'])
@pytest.mark.parametrize('method', METHODS)
def test_zero_features_give_zero_norm_and_zero_gradient(method: str, zero: str) -> None:
    x, y = _pair('pooled', torch.float32)
    if zero == 'one image':
        x[1] = 0
    if zero in ('x', 'both'):
        x = torch.zeros_like(x)
    if zero in ('y', 'both'):
        y = torch.zeros_like(y)
    x.requires_grad_()
    y.requires_grad_()
    sigma = transmitting_spectral_norm(x, y, method=method)
    sigma.sum().backward()
    empty = [1] if zero == 'one image' else [0, 1, 2]
    assert sigma[empty].eq(0).all()
    assert x.grad[empty].eq(0).all()
    assert y.grad[empty].eq(0).all()
    if zero == 'one image':
        assert (sigma[[0, 2]] > 0).all()
        assert x.grad.isfinite().all()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_non_finite_map_affects_only_its_own_image(method: str, value: float) -> None:
    for index in range(2):
        maps = _pair('pooled', torch.float32)
        expected = transmitting_spectral_norm(*maps, method=method)
        maps[index][1, 2, 0, 0] = value
        sigma = transmitting_spectral_norm(*maps, method=method)
        assert not sigma[1].isfinite()
        torch.testing.assert_close(sigma[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize('method', ['lanczos', 'svd'])
def test_channels_that_sum_to_zero_do_not_hide_the_norm(method: str) -> None:
    base = _randn(2, 1, 4, 4)
    x = torch.cat([base, -base], 1)
    assert (transmitting_spectral_norm(x, x, method=method) > 0.1).all()


@pytest.mark.parametrize('method', METHODS)
def test_rank_one_maps_have_the_exact_norm(method: str) -> None:
    x = _randn(2, 6, 1, 1) * _randn(2, 1, 4, 4, seed=1).abs()
    y = _randn(2, 5, 1, 1, seed=2) * _randn(2, 1, 4, 4, seed=3).abs()
    sigma = transmitting_spectral_norm(x.float(), y.float(), method=method)
    torch.testing.assert_close(sigma.double(), _svd_sigma(x, y), rtol=1e-5, atol=0)


@pytest.mark.parametrize('method', METHODS)
def test_strides_do_not_change_the_value(method: str) -> None:
    x, y = _pair('pooled', torch.float32)
    expected = transmitting_spectral_norm(x, y, method=method)
    strided = x.repeat_interleave(2, 3)[..., ::2]
    assert not strided.is_contiguous()
    last = y.to(memory_format=torch.channels_last)
    torch.testing.assert_close(transmitting_spectral_norm(strided, last, method=method), expected)
    transposed = transmitting_spectral_norm(x.transpose(2, 3), y.transpose(2, 3), method=method)
    torch.testing.assert_close(transposed, expected)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_maps_are_summed_in_float32(method: str, dtype: torch.dtype) -> None:
    x, y = (t.to(dtype) for t in _pair('pooled', torch.float32))
    sigma = transmitting_spectral_norm(x, y, method=method)
    assert sigma.dtype == torch.float32
    torch.testing.assert_close(sigma, transmitting_spectral_norm(x.float(), y.float(), method=method))


@pytest.mark.parametrize('method', METHODS)
def test_the_largest_float16_activations_do_not_overflow(method: str) -> None:
    x, y = torch.full((1, 512, 4, 4), 6e4, dtype=torch.float16), torch.full((1, 256, 4, 4), 6e4, dtype=torch.float16)
    x.requires_grad_()
    sigma = transmitting_spectral_norm(x, y, method=method)
    # A constant map c1 x c2 has the norm c1 c2 sqrt(C1 C2).
    torch.testing.assert_close(sigma, x.detach()[0, :1, 0, 0].float() ** 2 * (512 * 256) ** 0.5, rtol=1e-5, atol=0)
    sigma.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('method', METHODS)
def test_autocast_changes_neither_value_nor_gradient(method: str) -> None:
    def run(enabled: bool) -> tuple:
        x, y = (t.requires_grad_() for t in _pair('pooled', torch.float32))
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            sigma = transmitting_spectral_norm(x, y, method=method)
            sigma.sum().backward()
        return sigma.detach(), x.grad, y.grad

    torch.testing.assert_close(run(True), run(False), rtol=0, atol=0)


@pytest.mark.parametrize('method', METHODS)
def test_two_calls_give_the_same_bits(method: str) -> None:
    x, y = _pair('pooled', torch.float32)
    first = transmitting_spectral_norm(x, y, method=method)
    torch.manual_seed(5)
    assert torch.equal(first, transmitting_spectral_norm(x, y, method=method))


def test_one_float64_input_makes_the_result_float64() -> None:
    x, y = _pair('pooled')
    assert transmitting_spectral_norm(x, y).dtype == torch.float64
    assert transmitting_spectral_norm(x.float(), y).dtype == torch.float64


def test_a_second_derivative_raises_an_error() -> None:
    x, y = (t.requires_grad_() for t in _pair('same size'))
    (grad,) = torch.autograd.grad(transmitting_spectral_norm(x, y).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='no second derivative'):
        grad.sum().backward()


def test_maps_without_gradient_save_nothing_for_backward() -> None:
    x, y = _pair('same size')
    assert transmitting_spectral_norm(x, y).grad_fn is None
    with torch.no_grad():
        assert transmitting_spectral_norm(x.requires_grad_(), y).grad_fn is None


@pytest.mark.parametrize('which', [0, 1])
def test_only_a_map_that_requires_a_gradient_gets_one(which: int) -> None:
    maps = list(_pair('same size'))
    maps[which].requires_grad_()
    transmitting_spectral_norm(*maps).sum().backward()
    assert maps[which].grad.abs().sum() > 0
    assert maps[1 - which].grad is None


@pytest.mark.parametrize(
    ('kwargs', 'error', 'message'),
    [
        (dict(method='lancsoz'), ValueError, "method 'lancsoz' is unknown"),
        (dict(method='qr'), ValueError, "'lanczos', 'power', 'svd'"),
        (dict(num_iters=0), ValueError, 'num_iters=0'),
        (dict(num_iters=-3), ValueError, 'num_iters=-3'),
        (dict(num_iters=2.0), TypeError, 'num_iters=2.0'),
        (dict(num_iters=True), TypeError, 'num_iters=True'),
    ],
)
def test_invalid_settings_raise_an_error_with_the_wrong_value(kwargs: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        transmitting_spectral_norm(*_pair('pooled'), **kwargs)


@pytest.mark.parametrize(
    ('x', 'y', 'error', 'message'),
    [
        (torch.ones(2, 3, 4, 4, dtype=torch.int64), torch.ones(2, 3, 4, 4), TypeError, 'x is torch.int64'),
        (torch.ones(2, 3, 4, 4), [1.0], TypeError, 'y is list'),
        (torch.ones(2, 3), torch.ones(2, 3, 4, 4), ValueError, r'x has shape \(2, 3\)'),
        (torch.ones(2, 3, 4, 4), torch.ones(3, 3, 4, 4), ValueError, 'batch size 2 and y has batch size 3'),
        (torch.ones(2, 3, 0, 4), torch.ones(2, 3, 4, 4), ValueError, 'at least one element'),
        (torch.ones(2, 17, 3), torch.ones(2, 3, 4, 4), ValueError, '17 tokens and a map of 16 positions'),
        (torch.ones(2, 16, 3), torch.ones(2, 3, 2, 2), ValueError, 'give them as `grids`'),
    ],
)
@pytest.mark.parametrize('function', [transmitting_matrix, transmitting_spectral_norm])
def test_invalid_maps_raise_an_error_with_their_name(
    function: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        function(x, y)
