"""The public functions: the transmitting matrix, a surrogate of a block's linear map, and its spectral norm."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from .autograd import Network, spectral_norms
from .grids import resolve_grids
from .pairing import check_valid_ratios, common_size, flatten_positions, pair_weights, working_dtype
from .solvers import SOLVERS

METHODS = tuple(SOLVERS)


def transmitting_matrix(
    x: Tensor,
    y: Tensor,
    *,
    valid_ratios: Tensor | None = None,
    grids: Sequence[Sequence[int] | None] | None = None,
) -> Tensor:
    r"""Compute the transmitting matrix :math:`F_1 F_2^\top / N` of two consecutive feature maps, one per image.

    Args:
        x (Tensor): Map before the block, or tokens.
        y (Tensor): Map after the block, or tokens.
        valid_ratios (Tensor, optional): As in :func:`transmitting_spectral_norm`. Defaults to None, no padding.
        grids (Sequence[Sequence[int] | None], optional): As in :func:`transmitting_spectral_norm`. Defaults to None.

    Returns:
        Tensor: The matrices; float64 if one of the inputs is, float32 otherwise, also under autocast. Differentiable in
        both arguments.

    Shape:
        - x: (B, C1, H1, W1), or (B, N1, C1) for tokens.
        - y: (B, C2, H2, W2), or (B, N2, C2) for tokens.
        - valid_ratios: (B, 2).
        - Output: (B, C1, C2).

    Raises:
        TypeError: An input is not a floating-point tensor.
        ValueError: The maps cannot be paired (see :func:`pair_feature_maps`), or ``valid_ratios`` is not (B, 2).

    Source:
        Paper, section 3.2.

    Example:
        >>> transmitting_matrix(torch.randn(2, 64, 56, 56), torch.randn(2, 128, 28, 28)).shape
        torch.Size([2, 64, 128])
    """
    device_type = x.device.type if isinstance(x, Tensor) else 'cpu'
    with torch.autocast(device_type, enabled=False):
        grid_x, grid_y = resolve_grids((x, y), grids)
        size, dtype = common_size(x, y, grid_x, grid_y), working_dtype((x, y))
        f1, f2 = flatten_positions(x.to(dtype), size, grid_x), flatten_positions(y.to(dtype), size, grid_y)
        if valid_ratios is not None:
            check_valid_ratios(valid_ratios, x.shape[0])
            weights = pair_weights(valid_ratios.to(x.device), size, (grid_x, grid_y), dtype)
            if weights is not None:
                return (f1 * weights) @ f2.transpose(1, 2) / weights.sum(2, keepdim=True)
        return f1 @ f2.transpose(1, 2) / f1.shape[2]


def transmitting_spectral_norm(
    x: Tensor,
    y: Tensor,
    *,
    method: str = 'lanczos',
    num_iters: int = 5,
    valid_ratios: Tensor | None = None,
    grids: Sequence[Sequence[int] | None] | None = None,
) -> Tensor:
    r"""Compute the spectral norm :math:`\sigma(F_1 F_2^\top / N)` of the transmitting matrix.

    The matrix is materialized only where that is faster. The backward pass needs O(B (C1 + C2 + N)) saved numbers, and not
    the maps.

    Args:
        x (Tensor): Map before the block, or tokens.
        y (Tensor): Map after the block, or tokens.
        method (str): ``'lanczos'``, Golub-Kahan bidiagonalization, the most accurate per product; ``'power'``, the
            published iteration; ``'svd'``, exact and slow. Defaults to ``'lanczos'``.
        num_iters (int): Number of products with the matrix and with its transpose; not used by ``'svd'``. The authors use 5
            on ImageNet and 10 on CIFAR. Defaults to 5.
        valid_ratios (Tensor, optional): Shares of height and width that each image fills, from the top left, in (0, 1]. The
            rest is padding and is ignored. Each position is weighted by the share of its cell inside the image, and N is
            the sum of the weights. Tokens that are not pooled and whose grid is not given all have weight 1, as do
            class tokens. Defaults to None, no padding.
        grids (Sequence[Sequence[int] | None], optional): Height and width (h, w) of each map, or (h, w, p) for tokens with
            p leading ones without a place in the grid, such as a class token, which are left out where the map is pooled.
            Tokens need it where the numbers of positions of a pair differ. None stands for a map (B, C, H, W), whose shape
            has them, or for unknown. Defaults to None.

    Returns:
        Tensor: The norms; float64 if one of the inputs is, float32 otherwise, also under autocast. The same input gives the
        same value at every call. They are differentiable once in both arguments. Norms up to 1e32 are computed without
        overflow, their gradients for maps up to 1e10. A zero map gives 0 with a zero gradient. A NaN or an infinity in a map
        makes only the value of its own image non-finite. For a multiple largest singular value, the gradient is one of the
        subgradients.

    Shape:
        - x: (B, C1, H1, W1), or (B, N1, C1) for tokens.
        - y: (B, C2, H2, W2), or (B, N2, C2) for tokens.
        - valid_ratios: (B, 2).
        - Output: (B,).

    Raises:
        TypeError: A map or ``valid_ratios`` is not a floating-point tensor, or ``num_iters`` is not an integer.
        ValueError: The maps cannot be paired (see :func:`pair_feature_maps`), ``method`` is unknown, ``num_iters`` is not
            positive, ``valid_ratios`` is not (B, 2), or ``grids`` does not fit the maps.

    Source:
        Paper, section 3.2.

    Example:
        >>> before = torch.randn(8, 64, 56, 56, requires_grad=True)
        >>> after = torch.randn(8, 128, 28, 28)
        >>> sigma = transmitting_spectral_norm(before, after)
        >>> sigma.sum().backward()
        >>> sigma.shape, before.grad.shape
        (torch.Size([8]), torch.Size([8, 64, 56, 56]))
    """
    return transmitting_spectral_norms(
        (x, y), method=method, num_iters=num_iters, valid_ratios=valid_ratios, grids=grids
    )[0]


def transmitting_spectral_norms(
    features: Sequence[Tensor],
    *,
    method: str = 'lanczos',
    num_iters: int = 5,
    valid_ratios: Tensor | None = None,
    grids: Sequence[Sequence[int] | None] | None = None,
) -> Tensor:
    """Compute the spectral norms of the blocks between K consecutive maps.

    Row i is ``transmitting_spectral_norm(features[i], features[i + 1])``, computed with less work: a map of two pairs is
    converted once, and its gradient is written once.

    Args:
        features (Sequence[Tensor]): K >= 2 maps in the order of the network.
        method (str): As in :func:`transmitting_spectral_norm`. Defaults to ``'lanczos'``.
        num_iters (int): As in :func:`transmitting_spectral_norm`. Defaults to 5.
        valid_ratios (Tensor, optional): As in :func:`transmitting_spectral_norm`. Defaults to None, no padding.
        grids (Sequence[Sequence[int] | None], optional): As in :func:`transmitting_spectral_norm`, one entry per map.
            Defaults to None.

    Returns:
        Tensor: The norms, with the properties described in :func:`transmitting_spectral_norm`.

    Shape:
        - features: K times (B, C, H, W), or (B, N, C) for tokens.
        - valid_ratios: (B, 2).
        - Output: (K - 1, B).

    Raises:
        TypeError: As in :func:`transmitting_spectral_norm`.
        ValueError: As in :func:`transmitting_spectral_norm`, or there are fewer than two maps.

    Source:
        Paper, section 3.2.

    Example:
        >>> stages = [torch.randn(2, 64 * 2**i, 56 // 2**i, 56 // 2**i) for i in range(4)]
        >>> transmitting_spectral_norms(stages).shape
        torch.Size([3, 2])
    """
    return spectral_norms_of_networks(
        [features], method=method, num_iters=num_iters, valid_ratios=valid_ratios, grids=[grids]
    )[0]


@torch.compiler.disable
def spectral_norms_of_networks(
    networks: Sequence[Sequence[Tensor]],
    *,
    method: str = 'lanczos',
    num_iters: int = 5,
    valid_ratios: Tensor | None = None,
    grids: Sequence[Sequence[Sequence[int] | None] | None] | None = None,
) -> list[Tensor]:
    """Compute the spectral norms of the blocks of several networks, such as student and teacher.

    The values are those of :func:`transmitting_spectral_norms` for each network. On a GPU, all networks together take little more time
    than one of them.

    Args:
        networks (Sequence[Sequence[Tensor]]): For each network, its maps in their order, at least 2.
        method (str): As in :func:`transmitting_spectral_norm`. Defaults to ``'lanczos'``.
        num_iters (int): As in :func:`transmitting_spectral_norm`. Defaults to 5.
        valid_ratios (Tensor, optional): As in :func:`transmitting_spectral_norm`, for the images that all networks see. Defaults
            to None, no padding.
        grids (Sequence[Sequence[Sequence[int] | None] | None], optional): As in :func:`transmitting_spectral_norm`, for each network
            one entry per map, or None. Defaults to None.

    Returns:
        list[Tensor]: The norms of each network, with the properties described in :func:`transmitting_spectral_norm`.

    Shape:
        - networks: for each network, K times (B, C, H, W), or (B, N, C) for tokens.
        - valid_ratios: (B, 2).
        - Output: for each network (K - 1, B).

    Raises:
        TypeError: As in :func:`transmitting_spectral_norm`.
        ValueError: As in :func:`transmitting_spectral_norm`, or a network has fewer than two maps.

    Source:
        Paper, sections 3.2 and 3.3.

    Example:
        >>> student = [torch.randn(2, 16, 8, 8), torch.randn(2, 32, 4, 4), torch.randn(2, 64, 2, 2)]
        >>> teacher = [torch.randn(2, 64, 8, 8), torch.randn(2, 128, 4, 4), torch.randn(2, 256, 2, 2)]
        >>> [norms.shape for norms in spectral_norms_of_networks([student, teacher])]
        [torch.Size([2, 2]), torch.Size([2, 2])]
    """
    check_method(method)
    check_num_iters(num_iters)
    grids = [None] * len(networks) if grids is None else grids
    if len(grids) != len(networks):
        raise ValueError(f'grids has {len(grids)} entries for {len(networks)} networks: give one per network, or None.')
    checked = [
        _check_network(list(features), network_grids, valid_ratios) for features, network_grids in zip(networks, grids)
    ]
    not_empty = [network for network in checked if len(network.features[0])]
    norms = iter(spectral_norms(not_empty, method, num_iters, valid_ratios))
    return [
        next(norms) if len(network.features[0]) else _no_norms(network.features, len(network.sizes))
        for network in checked
    ]


def _no_norms(features: Sequence[Tensor], num_pairs: int) -> Tensor:
    return features[0].new_zeros(num_pairs, 0, dtype=working_dtype(features))


def _check_network(
    features: Sequence[Tensor], grids: Sequence[Sequence[int] | None] | None, valid_ratios: Tensor | None
) -> Network:
    if len(features) < 2:
        raise ValueError(f'{len(features)} feature map was given, but a pair consists of two: pass at least 2 maps.')
    resolved = resolve_grids(features, grids)
    pairs = itertools.pairwise(zip(features, resolved))
    sizes = [common_size(x, y, grid_x, grid_y) for (x, grid_x), (y, grid_y) in pairs]
    batch_size = features[0].shape[0]
    if valid_ratios is not None and batch_size:
        check_valid_ratios(valid_ratios, batch_size)
    return Network(features, resolved, sizes)


def check_method(method: str) -> None:
    """Check that a method is one of :data:`METHODS`.

    Args:
        method (str): Name of the method.

    Raises:
        ValueError: The method is unknown.

    Example:
        >>> check_method('qr')
        Traceback (most recent call last):
        ValueError: method 'qr' is unknown: use one of 'lanczos', 'power', 'svd'.
    """
    if method not in METHODS:
        raise ValueError(f'method {method!r} is unknown: use one of {", ".join(map(repr, METHODS))}.')


def check_num_iters(num_iters: int) -> None:
    """Check that a number of iterations is a positive integer.

    Args:
        num_iters (int): Number of iterations.

    Raises:
        TypeError: The value is not an integer.
        ValueError: The value is below 1.

    Example:
        >>> check_num_iters(0)
        Traceback (most recent call last):
        ValueError: num_iters=0 is below 1, so that nothing would be computed: use 1 or more, e.g. 5.
    """
    if isinstance(num_iters, bool) or not isinstance(num_iters, int):
        raise TypeError(
            f'num_iters={num_iters!r} is of type {type(num_iters).__name__}, but must be an integer: use 1 or more, e.g. 5.'
        )
    if num_iters < 1:
        raise ValueError(f'num_iters={num_iters} is below 1, so that nothing would be computed: use 1 or more, e.g. 5.')
