"""Error of the spectral norm by number of products and by ratio of the second to the first singular value.

The maps are made in float32 with random directions and 128 distinct singular values: 1, the ratio, and smaller values whose
squares are the Chebyshev nodes of [0, ratio^2]. A polynomial of low degree distinguishes these from the first value worst, and
with it every Krylov method. The error is the maximum over 16 images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

from lckd_mm.spectral import transmitting_spectral_norm

from .plotting import new_figure, save_figure

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
NUM_PRODUCTS = (1, 2, 3, 4, 5, 6, 8, 10)
METHODS = ('lanczos', 'power')
Errors = dict[int, list[float]]


def make_chebyshev_maps(
    ratio: float, c1: int = 128, c2: int = 256, side: int = 14, images: int = 16
) -> tuple[Tensor, Tensor]:
    """Make maps whose transmitting matrices have the singular values 1, ratio, ..., 0.

    Args:
        ratio (float): Second singular value.
        c1 (int): Channels of the first map. Defaults to 128.
        c2 (int): Channels of the second map. Defaults to 256.
        side (int): Height and width. Defaults to 14.
        images (int): Batch size. Defaults to 16.

    Returns:
        tuple[Tensor, Tensor]: The maps, (images, C1, side, side) and (images, C2, side, side).

    Example:
        >>> x, y = make_chebyshev_maps(0.4, c1=6, c2=8, side=4, images=2)
        >>> values = torch.linalg.svdvals(x.flatten(2) @ y.flatten(2).mT / 16)
        >>> torch.testing.assert_close(values[:, :2], torch.tensor([[1.0, 0.4], [1.0, 0.4]]))
    """
    generator = torch.Generator().manual_seed(0)
    num_positions = side * side
    rank = min(c1, c2, num_positions)

    def orthonormal(rows: int) -> Tensor:
        values = torch.randn(images, rows, rank, generator=generator, dtype=torch.float64)
        return torch.linalg.qr(values)[0]

    u, v, q = (orthonormal(rows) for rows in (c1, c2, num_positions))
    nodes = torch.linspace(0, torch.pi, rank - 1, dtype=torch.float64)
    values = torch.cat([torch.ones(1), ratio * (nodes / 2).cos().abs()])
    x, y = u * values @ q.mT * num_positions, v @ q.mT
    return x.float().unflatten(2, (side, side)), y.float().unflatten(2, (side, side))


def measure_errors(method: str, ratios: Sequence[float] = RATIOS, num_products: Sequence[int] = NUM_PRODUCTS) -> Errors:
    """Measure the maximum relative error.

    Args:
        method (str): ``'lanczos'`` or ``'power'``.
        ratios (Sequence[float]): Ratios of the second to the first singular value.
        num_products (Sequence[int]): Numbers of products with the matrix and with its transpose.

    Returns:
        Errors: For each number of products one error per ratio.

    Example:
        >>> errors = measure_errors('lanczos', [0.4], [1, 5])
        >>> errors[5][0] < 1e-4 < errors[1][0]
        True
    """
    errors: Errors = {num: [] for num in num_products}
    for ratio in ratios:
        x, y = make_chebyshev_maps(ratio)
        for num in num_products:
            norms = transmitting_spectral_norm(x, y, method=method, num_iters=num).double()
            errors[num].append((norms - 1).abs().max().item())
    return errors


def print_errors(method: str, errors: Errors, ratios: Sequence[float] = RATIOS) -> None:
    """Print the errors of one method.

    Args:
        method (str): Name of the method.
        errors (Errors): Result of :func:`measure_errors`.
        ratios (Sequence[float]): Its ratios.

    Example:
        >>> print_errors('lanczos', {5: [2e-7]}, [0.4])
        lanczos: maximum relative error
        products |     0.4
               5 | 2.0e-07
    """
    print(f'{method}: maximum relative error')
    print('products | ' + ' | '.join(f'{ratio:7}' for ratio in ratios))
    for num, values in errors.items():
        print(f'{num:8} | ' + ' | '.join(f'{value:.1e}' for value in values))


def plot_errors(errors: Mapping[str, Errors], path: Path, ratios: Sequence[float] = RATIOS) -> None:
    """Plot the errors of all methods.

    Args:
        errors (Mapping[str, Errors]): Results of :func:`measure_errors` by method.
        path (Path): The image file.
        ratios (Sequence[float]): Their ratios.
    """
    figure, axes = new_figure(1, len(errors), size=(5 * len(errors), 4), sharey=True)
    colors = matplotlib.colormaps['viridis']
    for axis, (method, by_products) in zip(axes, errors.items(), strict=True):
        for index, (num, values) in enumerate(by_products.items()):
            # Below the rounding of float32 the error is not meaningful.
            visible = [max(value, 3e-8) for value in values]
            axis.plot(ratios, visible, marker='.', color=colors(index / len(by_products)), label=f'{num}')
        axis.axhline(1e-4, color='gray', linestyle=':')
        axis.set(yscale='log', title=method, xlabel='second / first singular value', ylim=(2e-8, 2))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('maximum relative error of the spectral norm')
    axes[-1].legend(title='products', fontsize=8, loc='lower right')
    save_figure(figure, path, dpi=110)
