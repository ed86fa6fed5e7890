"""Properties of the spectral norm for generated shapes, data types, memory layouts and magnitudes."""

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lckd_mm.spectral import METHODS, transmitting_matrix, transmitting_spectral_norm
from tests.helpers.properties import examples

# Machine precision of the input, with room for the sums over positions.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 1e-4, torch.float16: 1e-4}
LAYOUTS = ('contiguous', 'channels_last', 'transposed', 'every second', 'expanded')


def _layout(shape: tuple[int, ...], layout: str, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Return random numbers of a shape, stored in a layout."""

    def random(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(dtype)

    if layout == 'channels_last':
        return random(*shape).contiguous(memory_format=torch.channels_last)
    if layout == 'transposed':
        return random(*shape[:2], shape[3], shape[2]).transpose(2, 3)
    if layout == 'every second':
        return random(shape[0], 2 * shape[1], shape[2], 2 * shape[3])[:, ::2, :, 1::2]
    if layout == 'expanded':
        return random(1, *shape[1:]).expand(*shape)
    return random(*shape)


@st.composite
def pairs(draw: Any) -> tuple[Tensor, Tensor]:
    """Generate two maps of one batch; sizes and channels include 1, and the sizes need not be multiples."""
    size, channels = st.integers(1, 9), st.integers(1, 7)
    batch = draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    return tuple(
        _layout(
            (batch, draw(channels), draw(size), draw(size)),
            draw(st.sampled_from(LAYOUTS)),
            draw(st.sampled_from(list(TOLERANCE))),
            generator,
        )
        for _ in 'xy'
    )  # type: ignore[return-value]


def _cells(size: int, number: int) -> list[slice]:
    """Return the cells of adaptive average pooling, from floor(i n / m) to ceil((i + 1) n / m)."""
    return [slice(index * size // number, -(-(index + 1) * size // number)) for index in range(number)]


def _reference(x: Tensor, y: Tensor) -> np.ndarray:
    """Compute the norms with NumPy in float64: averages over the cells, the matrix, and its singular values."""
    maps = [value.detach().double().numpy() for value in (x, y)]
    height, width = (min(value.shape[axis] for value in maps) for axis in (2, 3))
    pooled = []
    for value in maps:
        rows, columns = _cells(value.shape[2], height), _cells(value.shape[3], width)
        pooled.append(np.stack([value[:, :, row, column].mean((2, 3)) for row in rows for column in columns], axis=2))
    matrix = np.einsum('bcn,bdn->bcd', *pooled) / (height * width)
    return np.linalg.svd(matrix, compute_uv=False)[:, 0]


@examples(60, 1500)
@given(pairs())
def test_norm_is_the_largest_singular_value(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    expected = _reference(x, y)
    dtype = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    tolerance = max(TOLERANCE[x.dtype], TOLERANCE[y.dtype]) if dtype == torch.float32 else 1e-9
    for method in ('svd', 'lanczos'):
        # Lanczos is exact after as many products as the matrix has rows or columns.
        sigma = transmitting_spectral_norm(x, y, method=method, num_iters=8)
        assert sigma.dtype == dtype
        np.testing.assert_allclose(sigma.numpy(), expected, rtol=tolerance, atol=tolerance * expected.max())
    # The power iteration approaches it from below.
    power = transmitting_spectral_norm(x, y, method='power').double().numpy()
    assert (power <= expected * (1 + 10 * tolerance) + tolerance).all()


@examples(40, 800)
@given(pairs(), st.sampled_from(METHODS))
def test_gradient_is_finite_and_that_of_the_singular_vectors(pair: tuple[Tensor, Tensor], method: str) -> None:
    x, y = (value.detach().requires_grad_() for value in pair)
    sigma = transmitting_spectral_norm(x, y, method=method, num_iters=8)
    sigma.sum().backward()
    for value in (x, y):
        assert value.grad.shape == value.shape
        assert value.grad.dtype == value.dtype
        assert value.grad.isfinite().all()
    # Euler: the norm is homogeneous of degree 1 in each map.
    tolerance = 2e-2 if torch.float16 in (x.dtype, y.dtype) or torch.bfloat16 in (x.dtype, y.dtype) else 1e-3
    for value in (x, y):
        inner = (value.grad.double() * value.detach().double()).sum((1, 2, 3))
        torch.testing.assert_close(
            inner, sigma.detach().double(), rtol=tolerance, atol=tolerance * float(sigma.detach().max())
        )


@examples(40, 800)
@given(pairs(), st.integers(-110, 110), st.sampled_from(METHODS))
def test_magnitudes_up_to_overflow_scale_the_norm(pair: tuple[Tensor, Tensor], exponent: int, method: str) -> None:
    """A norm between 1e-32 and 1e32 is that of the scaled maps, although its square is no float32; so are its gradients to 1e20."""
    x, y = (value.detach().double() for value in pair)
    expected = transmitting_spectral_norm(x, y, method=method) * 2.0**exponent
    scale = 2.0 ** (exponent / 2)
    x, y = ((value * scale).float().requires_grad_() for value in (x, y))
    sigma = transmitting_spectral_norm(x, y, method=method)
    is_large_enough = expected > 1e-4 * 2.0**exponent
    torch.testing.assert_close(sigma.detach().double()[is_large_enough], expected[is_large_enough], rtol=1e-2, atol=0)
    if abs(exponent) < 66:
        sigma.sum().backward()
        assert all(value.grad.isfinite().all() for value in (x, y))


@examples(30, 300)
@given(pairs(), st.sampled_from(METHODS), st.sampled_from([float('nan'), float('inf'), -float('inf')]), st.data())
def test_invalid_number_affects_its_own_image_only(
    pair: tuple[Tensor, Tensor], method: str, invalid: float, data: Any
) -> None:
    x, y = (value.detach().contiguous().clone() for value in pair)
    expected = transmitting_spectral_norm(x, y, method=method)
    image = data.draw(st.integers(0, len(x) - 1))
    x[image].view(-1)[data.draw(st.integers(0, x[image].numel() - 1))] = invalid
    sigma = transmitting_spectral_norm(x, y, method=method)
    assert not sigma[image].isfinite()
    others = [index for index in range(len(x)) if index != image]
    torch.testing.assert_close(sigma[others], expected[others])


@examples(30, 300)
@given(pairs(), st.sampled_from(METHODS))
def test_an_empty_batch_gives_no_norm_and_an_empty_gradient(pair: tuple[Tensor, Tensor], method: str) -> None:
    x, y = (value.detach()[:0].requires_grad_() for value in pair)
    assert transmitting_spectral_norm(x, y, method=method).shape == (0,)
    assert transmitting_matrix(x, y).shape == (0, x.shape[1], y.shape[1])


@examples(30, 300)
@given(pairs(), st.sampled_from(METHODS))
def test_memory_layout_does_not_change_the_norm(pair: tuple[Tensor, Tensor], method: str) -> None:
    x, y = pair
    torch.testing.assert_close(
        transmitting_spectral_norm(x, y, method=method),
        transmitting_spectral_norm(x.clone(memory_format=torch.contiguous_format), y.contiguous(), method=method),
        rtol=1e-5,
        atol=1e-6,
    )
