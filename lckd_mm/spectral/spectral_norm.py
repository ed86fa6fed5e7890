"""The spectral norm of the transmitting matrix, with its gradient in closed form (paper, section 3.2)."""

from typing import Any, Tuple

import torch
from torch import Tensor

from .naming import unknown_name
from .pairing import pair_feature_maps
from .solvers import solve_lanczos, solve_power, solve_svd

_SOLVERS = dict(lanczos=solve_lanczos, power=solve_power, svd=solve_svd)
METHODS = tuple(_SOLVERS)


def transmitting_spectral_norm(x: Tensor, y: Tensor, *, method: str = 'lanczos', n_iters: int = 5) -> Tensor:
    r"""Spectral norm :math:`\sigma(F_1 F_2^\top / N)` of the transmitting matrix, without forming it.

    Args:
        x (Tensor): Map before the block, (B, C1, H1, W1), or tokens (B, N1, C1).
        y (Tensor): Map after the block, (B, C2, H2, W2), or tokens (B, N2, C2).
        method (str): ``'lanczos'``, Golub-Kahan bidiagonalisation, the most accurate for its number of products;
            ``'power'``, the published iteration; ``'svd'``, exact and slow. Defaults to ``'lanczos'``.
        n_iters (int): Products with the matrix and with its transpose (not used by ``'svd'``). The authors run 5 on
            ImageNet and 10 on CIFAR. Defaults to 5.

    Returns:
        Tensor: (B,), float64 if one of the inputs is, float32 otherwise, also under autocast. Differentiable once in
        both arguments. A map of zeros gives 0 with a zero gradient; a map with a NaN or an infinity gives a non-finite
        value for its image alone. Where the largest singular value is a multiple one the gradient is one of the
        subgradients. The same input gives the same value at every call.

    Raises:
        TypeError: An input is not a floating point tensor, or ``n_iters`` is not an integer.
        ValueError: The maps cannot be paired (see :func:`pair_feature_maps`), ``method`` is unknown or ``n_iters`` is
            not positive.

    Examples:
        >>> before = torch.randn(8, 64, 56, 56, requires_grad=True)
        >>> after = torch.randn(8, 128, 28, 28)
        >>> sigma = transmitting_spectral_norm(before, after)
        >>> sigma.sum().backward()
        >>> sigma.shape, before.grad.shape
        (torch.Size([8]), torch.Size([8, 64, 56, 56]))
    """
    check_method(method)
    check_n_iters(n_iters)
    device_type = x.device.type if isinstance(x, Tensor) else 'cpu'
    with torch.autocast(device_type, enabled=False):
        f1, f2 = pair_feature_maps(x, y)
        with_gradient = torch.is_grad_enabled() and (f1.requires_grad or f2.requires_grad)
        return _SpectralNorm.apply(f1, f2, method, n_iters, with_gradient)[0]


def check_method(method: str) -> None:
    """Raise a ``ValueError`` that names the nearest method unless ``method`` is one of :data:`METHODS`."""
    if method not in _SOLVERS:
        raise ValueError(unknown_name('method', method, METHODS))


def check_n_iters(n_iters: int) -> None:
    """Raise unless ``n_iters`` is a positive integer."""
    if isinstance(n_iters, bool) or not isinstance(n_iters, int):
        raise TypeError(f'n_iters={n_iters!r} is a {type(n_iters).__name__}, but it counts products: give an integer.')
    if n_iters < 1:
        raise ValueError(f'n_iters={n_iters} does no product at all: give 1 or more, 5 say.')


class _SpectralNorm(torch.autograd.Function):
    """sigma of (B, C1, N) and (B, C2, N); besides the two maps only vectors are kept for the backward pass."""

    @staticmethod
    def forward(f1: Tensor, f2: Tensor, method: str, n_iters: int, with_gradient: bool) -> Tuple[Any, ...]:
        return _SOLVERS[method](f1, f2, n_iters, with_gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: Tuple[Any, ...], output: Tuple[Any, ...]) -> None:
        f1, f2, *_ = inputs
        _, left, right = output
        if left is not None:
            ctx.mark_non_differentiable(left, right)
            ctx.save_for_backward(f1, f2, left, right)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Tuple[Any, ...]:
        f1, f2, left, right = ctx.saved_tensors
        grad_f1 = grad_f2 = None
        with torch.autocast(f1.device.type, enabled=False), torch.no_grad():
            left = left * (grad / f1.shape[2])[:, None, None]
            if ctx.needs_input_grad[0]:
                grad_f1 = left @ (right.transpose(1, 2) @ f2)
            if ctx.needs_input_grad[1]:
                grad_f2 = right @ (left.transpose(1, 2) @ f1)
        if torch.is_grad_enabled():
            # `create_graph=True`: tie the gradients to the maps, so that a second derivative is an error, not a zero.
            grad_f1, grad_f2 = (None if g is None else _FirstDerivative.apply(g, f1, f2) for g in (grad_f1, grad_f2))
        return grad_f1, grad_f2, None, None, None


class _FirstDerivative(torch.autograd.Function):
    """The identity on a gradient; refuses to be differentiated."""

    @staticmethod
    def forward(grad: Tensor, f1: Tensor, f2: Tensor) -> Tensor:
        return grad.view_as(grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: Tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Tuple[Any, ...]:
        raise RuntimeError(
            'transmitting_spectral_norm has no second derivative: keep it out of the term that needs one.'
        )
