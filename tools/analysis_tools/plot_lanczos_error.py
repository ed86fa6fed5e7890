"""How far the spectral norm is off, by number of products and by ratio of the second to the first singular value.

    python tools/analysis_tools/plot_lanczos_error.py docs/lanczos_error.png

Maps are built in float32 with random directions and 128 distinct singular values: 1, the ratio, and below it the Chebyshev
nodes of [0, ratio^2] for the squares, which are hardest to tell from the first by a polynomial of low degree, and so for every
Krylov method. The error is the largest of 16 images.
"""

import argparse
from pathlib import Path
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from lckd_mm.spectral import transmitting_spectral_norm

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
PRODUCTS = (1, 2, 3, 4, 5, 6, 8, 10)


def make_maps(ratio: float, c1: int = 128, c2: int = 256, side: int = 14, images: int = 16) -> Tuple[Tensor, Tensor]:
    """Maps whose transmitting matrices have the singular values 1, ratio, ... 0, Chebyshev nodes in their squares."""
    generator = torch.Generator().manual_seed(0)
    n = side * side
    rank = min(c1, c2, n)
    u, v, q = (
        torch.linalg.qr(torch.randn(images, rows, rank, generator=generator, dtype=torch.float64))[0]
        for rows in (c1, c2, n)
    )
    nodes = torch.linspace(0, torch.pi, rank - 1, dtype=torch.float64)
    values = torch.cat([torch.ones(1), ratio * (nodes / 2).cos().abs()])
    maps = u * values @ q.mT * n, v @ q.mT
    return tuple(m.float().unflatten(2, (side, side)) for m in maps)


def errors(method: str) -> Dict[int, List[float]]:
    """Largest relative error for each number of products, by ratio."""
    found: Dict[int, List[float]] = {n: [] for n in PRODUCTS}
    for ratio in RATIOS:
        x, y = make_maps(ratio)
        for n in PRODUCTS:
            sigma = transmitting_spectral_norm(x, y, method=method, n_iters=n).double()
            found[n].append((sigma - 1).abs().max().item())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('path', type=Path, help='of the picture')
    args = parser.parse_args()
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout='constrained')
    colors = plt.get_cmap('viridis')
    for axis, method in zip(axes, ('lanczos', 'power')):
        found = errors(method)
        print(f'{method}: largest relative error')
        print('products | ' + ' | '.join(f'{ratio:7}' for ratio in RATIOS))
        for index, (n, values) in enumerate(found.items()):
            print(f'{n:8} | ' + ' | '.join(f'{value:.1e}' for value in values))
            axis.plot(
                RATIOS,
                [max(value, 3e-8) for value in values],
                marker='.',
                color=colors(index / len(PRODUCTS)),
                label=f'{n}',
            )
        axis.axhline(1e-4, color='gray', linestyle=':')
        axis.set(yscale='log', title=method, xlabel='second / first singular value', ylim=(2e-8, 2))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('largest relative error of the spectral norm')
    axes[1].legend(title='products', fontsize=8, loc='lower right')
    args.path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.path, dpi=110)


if __name__ == '__main__':
    main()
