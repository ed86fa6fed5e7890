"""Adaptive average pooling equals PyTorch's, and its adjoint equals the gradient."""

import pytest
import torch
import torch.nn.functional as F

from lckd_mm.spectral.pooling import average_pool, average_pool_adjoint

RATIOS = {
    'half': ((8, 6), (4, 3)),
    'third and quarter': ((9, 8), (3, 2)),
    'odd after stride 2': ((9, 13), (5, 7)),
    'odd and even': ((9, 8), (5, 4)),
    'three to two': ((3, 3), (2, 2)),
    'irregular': ((10, 7), (7, 3)),
    'to one': ((6, 5), (1, 1)),
    'one axis': ((6, 5), (3, 5)),
    'large ratio': ((30, 30), (3, 2)),
}


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('name', RATIOS)
def test_average_pool_equals_adaptive_average_pooling(name: str, memory_format: torch.memory_format) -> None:
    input_size, size = RATIOS[name]
    x = torch.randn(2, 5, *input_size, dtype=torch.float64).to(memory_format=memory_format)
    torch.testing.assert_close(average_pool(x, size), F.adaptive_avg_pool2d(x, size))


def test_average_pool_over_several_blocks_equals_adaptive_average_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('lckd_mm.spectral.pooling._BLOCK_BYTES', 3 * 8 * 6 * 8)
    x = torch.randn(2, 5, 8, 6, dtype=torch.float64)
    torch.testing.assert_close(average_pool(x, (4, 3)), F.adaptive_avg_pool2d(x, (4, 3)))


def test_average_pool_does_not_change_its_input() -> None:
    for input_size, size in RATIOS.values():
        x = torch.randn(2, 3, *input_size)
        before = x.clone()
        average_pool(x, size)
        assert torch.equal(x, before)


def test_average_pool_is_differentiable() -> None:
    x = torch.randn(1, 2, 8, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: average_pool(t, (4, 3)), x)


@pytest.mark.parametrize('name', RATIOS)
def test_the_adjoint_is_the_gradient_of_adaptive_average_pooling(name: str) -> None:
    input_size, size = RATIOS[name]
    x = torch.randn(2, 3, *input_size, dtype=torch.float64, requires_grad=True)
    incoming = torch.randn(2, 3, *size, dtype=torch.float64)
    (expected,) = torch.autograd.grad(F.adaptive_avg_pool2d(x, size), x, incoming)
    torch.testing.assert_close(average_pool_adjoint(incoming.flatten(2), size, input_size), expected.flatten(2))
