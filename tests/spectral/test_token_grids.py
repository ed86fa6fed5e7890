"""Tokens with a given grid equal the map that they were flattened from; without one they are never pooled."""

import functools

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import METHODS, transmitting_matrix, transmitting_spectral_norm
from lckd_mm.spectral.planning import Plan
from tests.helpers.planned_norms import planned_norms

pytestmark = pytest.mark.usefixtures('every_solver')

# 4 x 9, 9 x 4 and 2 x 18 tokens are 36 as well as 6 x 6, the square that a guess would choose.
GRIDS = [(4, 9), (9, 4), (6, 6), (2, 18)]
VALID_RATIOS = torch.tensor([[1.0, 0.6], [0.45, 1.0]], dtype=torch.float64)


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _map(grid: tuple, channels: int = 6) -> Tensor:
    return _randn(2, channels, *grid, seed=grid[1])


def _tokens(feature: Tensor, num_prefix: int = 0) -> Tensor:
    tokens = feature.flatten(2).transpose(1, 2)
    prefix = _randn(len(tokens), num_prefix, tokens.shape[2], seed=9) * 100
    return torch.cat([prefix.to(tokens), tokens], 1)


def _reference(x: Tensor, y: Tensor, valid_ratios: Tensor | None) -> Tensor:
    """The transmitting matrix by loops over the positions of the smaller grid, with PyTorch's own pooling."""
    size = tuple(min(a, b) for a, b in zip(x.shape[2:], y.shape[2:]))
    x, y = (torch.nn.functional.adaptive_avg_pool2d(feature, size) for feature in (x, y))
    matrices = []
    for image in range(len(x)):
        ratios = (1.0, 1.0) if valid_ratios is None else valid_ratios[image].tolist()
        matrix, total = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64), 0.0
        for row in range(size[0]):
            for column in range(size[1]):
                rows, columns = (
                    min(max(r * n - i, 0.0), 1.0) for r, n, i in zip(ratios, size, (row, column), strict=True)
                )
                matrix += rows * columns * torch.outer(x[image, :, row, column], y[image, :, row, column])
                total += rows * columns
        matrices.append(matrix / total)
    return torch.stack(matrices)


@pytest.mark.parametrize('num_prefix', [0, 2])
@pytest.mark.parametrize('valid_ratios', [None, VALID_RATIOS], ids=['full', 'padded'])
@pytest.mark.parametrize('other', [(2, 3), (3, 2), (1, 9), (6, 6)])
@pytest.mark.parametrize('grid', GRIDS)
def test_tokens_are_pooled_on_their_own_grid(
    grid: tuple, other: tuple, valid_ratios: Tensor | None, num_prefix: int
) -> None:
    x, y = _map(grid), _map(other, 5)
    expected = _reference(x, y, valid_ratios)
    tokens = _tokens(x, num_prefix), _tokens(y)
    grids = [(*grid, num_prefix), other]
    options = dict(valid_ratios=valid_ratios, grids=grids)
    torch.testing.assert_close(transmitting_matrix(*tokens, **options), expected)
    sigma = transmitting_spectral_norm(*tokens, num_iters=9, **options)
    torch.testing.assert_close(sigma, torch.linalg.svdvals(expected)[:, 0])
    mixed = transmitting_spectral_norm(tokens[0], y, num_iters=9, valid_ratios=valid_ratios, grids=[grids[0], None])
    torch.testing.assert_close(mixed, sigma)


@pytest.mark.parametrize('plan', [None, Plan(1, (False, True)), Plan(2, (True, False))], ids=str)
@pytest.mark.parametrize('method', METHODS)
def test_gradient_of_tokens_is_correct_and_zero_for_a_class_token(method: str, plan: Plan | None) -> None:
    maps = [_tokens(_map((2, 9), 4), 1), _tokens(_map((2, 3), 3), 1), _map((3, 2), 5)]
    maps = [feature.requires_grad_() for feature in maps]
    function = functools.partial(
        planned_norms, method=method, num_iters=9, plan=plan, grids=[(2, 9, 1), (2, 3, 1), None]
    )
    assert torch.autograd.gradcheck(lambda *features: function(features), maps, fast_mode=True)
    function(maps).sum().backward()
    for tokens in maps[:2]:
        assert tokens.grad[:, 0].eq(0).all()
        assert tokens.grad[:, 1:].abs().sum() > 0


def test_tokens_of_a_square_equal_the_square_map_bit_for_bit() -> None:
    maps = [_map((6, 6)).float(), _map((3, 3), 5).float()]
    tokens = [_tokens(feature) for feature in maps]
    sigma = transmitting_spectral_norm(*tokens, grids=[(6, 6), (3, 3)])
    channels_last = [feature.contiguous(memory_format=torch.channels_last) for feature in maps]
    assert torch.equal(sigma, transmitting_spectral_norm(*channels_last))


def test_equal_grids_are_not_pooled_and_keep_the_class_token() -> None:
    x, y = _tokens(_map((4, 9)), 1), _tokens(_map((4, 9), 5), 1)
    assert torch.equal(transmitting_spectral_norm(x, y, grids=[(4, 9, 1)] * 2), transmitting_spectral_norm(x, y))


def test_padding_is_excluded_from_unpooled_tokens_with_a_grid() -> None:
    x, y = _map((4, 9)), _map((4, 9), 5)
    expected = torch.linalg.svdvals(_reference(x, y, VALID_RATIOS))[:, 0]
    sigma = transmitting_spectral_norm(
        _tokens(x), _tokens(y), num_iters=9, valid_ratios=VALID_RATIOS, grids=[(4, 9), None]
    )
    torch.testing.assert_close(sigma, expected)


def test_equal_numbers_of_tokens_of_different_grids_are_pooled() -> None:
    x, y = _map((4, 9)), _map((9, 4), 5)
    sigma = transmitting_spectral_norm(_tokens(x), _tokens(y), num_iters=9, grids=[(4, 9), (9, 4)])
    torch.testing.assert_close(sigma, torch.linalg.svdvals(_reference(x, y, None))[:, 0])


@pytest.mark.parametrize(
    ('grids', 'message'),
    [
        (None, '36 tokens and a map of 6 positions have to be pooled .* give them as `grids`'),
        ([None, (2, 3)], '36 tokens and a map of 6 positions have to be pooled'),
        ([(4, 8), None], r'the grid \(4, 8\) has 32 positions for 36 tokens'),
        ([(4, 8, 5), None], r'the grid \(4, 8, 5\) has 37 positions for 36 tokens'),
        ([(4, 9), (3, 2)], r'the grid \(3, 2\) is not that of a map of \(2, 3\)'),
        ([(4, 9)], '1 entries for 2 maps'),
        ([(36,), None], r'the grid \(36,\) is not valid'),
        ([(-4, -9), None], r'the grid \(-4, -9\) is not valid'),
    ],
)
@pytest.mark.parametrize('function', [transmitting_matrix, transmitting_spectral_norm])
def test_missing_or_wrong_grid_is_rejected(function, grids: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(_tokens(_map((4, 9))), _map((2, 3), 5), grids=grids)
