"""The shapes, maps and implementations of the benchmark of the spectral norm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lckd_mm.errors import ConfigValueError
from lckd_mm.spectral import transmitting_matrix, transmitting_spectral_norm

from .published import published_spectral_norm

Shape = tuple[int, int, int, int, int, int, int]
SpectralNorm = Callable[[Tensor, Tensor], Tensor]

# (batch, C1, H1, W1, C2, H2, W2) of two consecutive taps. 'reference' contains the shapes of the project's reference
# measurements; then follow the other pairs of DeepLabV3+ (ResNet-101, output stride 16, crops of 513) and of SSD300
# (ResNet-50 and its extra maps).
SHAPES: dict[str, list[Shape]] = {
    'reference': [
        (8, 256, 56, 56, 512, 28, 28),
        (8, 512, 28, 28, 1024, 14, 14),
        (8, 1024, 14, 14, 2048, 7, 7),
        (2, 256, 200, 336, 256, 100, 168),
        (4, 256, 129, 129, 512, 65, 65),
        (4, 1024, 33, 33, 2048, 33, 33),
        (64, 64, 32, 32, 128, 16, 16),
    ],
    'deeplabv3plus': [
        (4, 512, 65, 65, 1024, 33, 33),
        (4, 2048, 33, 33, 256, 129, 129),
    ],
    'ssd300': [
        (8, 512, 38, 38, 1024, 19, 19),
        (8, 1024, 19, 19, 512, 10, 10),
        (8, 512, 10, 10, 256, 5, 5),
        (8, 256, 5, 5, 256, 3, 3),
        (8, 256, 3, 3, 256, 1, 1),
    ],
}
NUM_ITERS = 5
FLOORS = ('floor', 'traffic')


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: ``'cpu'`` or ``'cuda'``.
        dtype: Data type of the maps.
        channels_last: Whether the maps are stored as (B, H, W, C).
        skip: Implementations to leave out.
        repeats: Number of rounds.
        seconds: Time limit for the rounds of one column of one row. Five of them are measured in any case.
        measure_memory: Whether the working memory is measured.
    """

    device: str = 'cpu'
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    skip: tuple[str, ...] = ()
    repeats: int = 15
    seconds: float = 6.0
    measure_memory: bool = True

    def __post_init__(self) -> None:
        """Reject numbers of rounds that measure nothing."""
        if self.repeats < 1:
            raise ConfigValueError(f'{self.repeats} rounds cannot be measured: use --repeats 1 or more.')

    @property
    def columns(self) -> list[str]:
        """The implementations that are measured."""
        return [column for column in IMPLEMENTATIONS if column not in self.skip]


def lanczos_norm(x: Tensor, y: Tensor) -> Tensor:
    """Compute the spectral norm as this package does by default."""
    return transmitting_spectral_norm(x, y, num_iters=NUM_ITERS)


def matrix_norm(x: Tensor, y: Tensor) -> Tensor:
    """Compute the spectral norm with ``torch.linalg.matrix_norm``."""
    return torch.linalg.matrix_norm(transmitting_matrix(x, y), ord=2)


def svd_lowrank(x: Tensor, y: Tensor) -> Tensor:
    """Compute the spectral norm with ``torch.svd_lowrank``: rank 6 and 2 subspace iterations, its defaults."""
    matrix = transmitting_matrix(x, y)
    # The rank is limited by the smaller dimension.
    return torch.svd_lowrank(matrix, q=min(6, *matrix.shape[1:]))[1][:, 0]


IMPLEMENTATIONS: dict[str, SpectralNorm] = {
    'lckd_mm': lanczos_norm,
    'published': published_spectral_norm,
    'matrix_norm': matrix_norm,
    'svd_lowrank': svd_lowrank,
}


def shape_name(shape: Shape) -> str:
    """Return a short name of a shape.

    Args:
        shape (Shape): (batch, C1, H1, W1, C2, H2, W2).

    Returns:
        str: The name.

    Example:
        >>> shape_name((2, 8, 12, 12, 16, 6, 8))
        '2, 8@12, 16@6x8'
    """
    batch, c1, h1, w1, c2, h2, w2 = shape
    sizes = [str(h) if h == w else f'{h}x{w}' for h, w in ((h1, w1), (h2, w2))]
    return f'{batch}, {c1}@{sizes[0]}, {c2}@{sizes[1]}'


def make_maps(shape: Shape, settings: Settings, ratio: float = 0.4) -> tuple[Tensor, Tensor]:
    """Make two maps with a spectrum like that of features before their activation: three common directions and noise.

    The singular values of independent maps are so close to each other that five products do not separate them, which is not
    the case for feature maps. The ratio of the first two was measured before the ReLUs of a ResNet-50.

    Args:
        shape (Shape): (batch, C1, H1, W1, C2, H2, W2).
        settings (Settings): Device, data type and memory format.
        ratio (float): Second over first singular value, approximately. Defaults to 0.4.

    Returns:
        tuple[Tensor, Tensor]: The maps.

    Shape:
        - Output: (batch, C1, H1, W1) and (batch, C2, H2, W2).

    Example:
        >>> x, y = make_maps((2, 8, 12, 12, 16, 6, 6), Settings())
        >>> x.shape, y.shape
        (torch.Size([2, 8, 12, 12]), torch.Size([2, 16, 6, 6]))
    """
    generator = torch.Generator().manual_seed(0)
    batch, c1, h1, w1, c2, h2, w2 = shape
    common = torch.randn(batch, 3, min(h1, h2), min(w1, w2), generator=generator)
    strength = torch.tensor([1.0, ratio, ratio**2]).sqrt()

    def make(channels: int, height: int, width: int) -> Tensor:
        mix = torch.randn(batch, channels, 3, generator=generator) @ torch.diag(strength)
        signal = torch.einsum('bcr,brhw->bchw', mix, F.interpolate(common, (height, width)))
        values = signal + 0.3 * torch.randn(batch, channels, height, width, generator=generator)
        memory_format = torch.channels_last if settings.channels_last else torch.preserve_format
        return values.to(settings.device, settings.dtype, memory_format=memory_format)

    return make(c1, h1, w1), make(c2, h2, w2)


def select_shapes(groups: Sequence[str]) -> list[tuple[str, Shape]]:
    """Return the shapes of some groups, each with the name of its group.

    Args:
        groups (Sequence[str]): Keys of ``SHAPES``.

    Returns:
        list[tuple[str, Shape]]: The shapes.

    Example:
        >>> len(select_shapes(['deeplabv3plus', 'ssd300']))
        7
    """
    return [(group, shape) for group in groups for shape in SHAPES[group]]
