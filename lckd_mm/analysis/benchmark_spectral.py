"""Time, memory and error of the spectral norm in several implementations.

All columns of a row are measured in turn in one run, so that their ratios are comparable.
"""

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lckd_mm.spectral import transmitting_matrix, transmitting_spectral_norm
from lckd_mm.spectral.planning import describe, make_plan

from .benchmark import synchronized_time
from .published import pool_to_common_size, published_matrix, published_spectral_norm

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
        repeats: Number of measurements.
        seconds: Time limit for the repetitions of one column of one row.
        measure_memory: Whether the working memory is measured.
    """

    device: str = 'cpu'
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    skip: tuple[str, ...] = ()
    repeats: int = 15
    seconds: float = 6.0
    measure_memory: bool = True

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
    'ours': lanczos_norm,
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


def exact_norms(x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Compute the spectral norms and their gradients with the SVD in float64.

    Args:
        x (Tensor): (B, C1, H1, W1).
        y (Tensor): (B, C2, H2, W2).

    Returns:
        tuple[Tensor, list[Tensor]]: Norms (B,), and the gradients of their sum with respect to both maps.
    """
    maps = [f.detach().double().requires_grad_() for f in (x, y)]
    matrix = published_matrix(*maps)
    u, s, vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
    matrix.backward(u[:, :, :1] @ vh[:, :1])
    return s[:, 0], [f.grad for f in maps if f.grad is not None]


def _time_floor(x: Tensor, y: Tensor, pool: bool) -> tuple[float, float]:
    """Return the seconds, forward and backward, of the operations that no implementation can omit."""
    device = x.device.type
    maps = [f.detach().requires_grad_() for f in (x, y)]
    start = synchronized_time(device)
    pooled = pool_to_common_size(maps[0], maps[1]) if pool else maps
    for feature in pooled:
        feature.detach().sum()
    middle = synchronized_time(device)
    for feature, small in zip(maps, pooled, strict=True):
        if small is feature:
            torch.empty_like(feature).fill_(1.0)
        else:
            small.backward(torch.ones((), device=feature.device, dtype=feature.dtype).expand_as(small))
    return middle - start, synchronized_time(device) - middle


def _run(function: SpectralNorm, x: Tensor, y: Tensor) -> tuple[float, float, Tensor, list[Tensor]]:
    """Return the seconds of the forward and the backward pass, the norms, and the gradients of both maps."""
    device = x.device.type
    maps = [f.detach().requires_grad_() for f in (x, y)]
    start = synchronized_time(device)
    norms = function(*maps)
    middle = synchronized_time(device)
    norms.sum().backward()
    return (
        middle - start,
        synchronized_time(device) - middle,
        norms.detach(),
        [f.grad for f in maps if f.grad is not None],
    )


def working_memory(shape: Shape, column: str, settings: Settings) -> float:
    """Measure the peak memory of forward and backward pass, without the two maps and their gradients.

    On a CPU the memory of PyTorch's allocator is measured. It does not contain the buffers of the BLAS library.

    Args:
        shape (Shape): The shapes of the maps.
        column (str): Name of the implementation.
        settings (Settings): Device, data type and memory format.

    Returns:
        float: Bytes.
    """
    x, y = make_maps(shape, settings)
    _run(IMPLEMENTATIONS[column], x, y)
    gradients = x.nbytes + y.nbytes
    if settings.device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _run(IMPLEMENTATIONS[column], x, y)
        return max(torch.cuda.max_memory_allocated() - before - gradients, 0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        results = _run(IMPLEMENTATIONS[column], x, y)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']
    allocated = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    # Freed only now, so that the gradients are part of the peak.
    del results
    return max(max(allocated) - gradients, 0)


def measure_shape(shape: Shape, settings: Settings, on_progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure one row of the table.

    Args:
        shape (Shape): The shapes of the maps.
        settings (Settings): How to measure.
        on_progress (Callable[[str], None]): Receives what is being measured.

    Returns:
        dict: For each column the medians of its times in seconds, its memory in bytes and its relative errors; ``name``, ``shape``
        and ``plan``.
    """
    x, y = make_maps(shape, settings)
    name = shape_name(shape)
    row: dict[str, Any] = dict(shape=shape, name=name)
    for column, errors in _measure_errors(x, y, settings).items():
        row[column] = errors
    for column, times in _measure_times(x, y, settings, lambda text: on_progress(f'{name}: {text}')).items():
        forward, backward = (statistics.median(part) for part in zip(*times, strict=True))
        total = statistics.median(f + b for f, b in times)
        row.setdefault(column, {}).update(forward=forward, backward=backward, total=total, repeats=len(times))
    for column in settings.columns if settings.measure_memory else ():
        on_progress(f'{name}: {column}, memory')
        row[column]['memory'] = working_memory(shape, column, settings)
    batch, c1, _, _, c2, _, _ = shape
    num_positions = min(x[0, 0].numel(), y[0, 0].numel())
    row['plan'] = describe(make_plan(((c1, c2, num_positions),), batch, 'lanczos', NUM_ITERS, 4, settings.device))
    return row


def _measure_errors(x: Tensor, y: Tensor, settings: Settings) -> dict[str, dict[str, float]]:
    """Return the relative error of the norms and, in norm, of the gradients."""
    exact, exact_gradients = exact_norms(x, y)
    errors = {}
    for column in settings.columns:
        _, _, norms, gradients = _run(IMPLEMENTATIONS[column], x, y)
        pairs = zip(gradients, exact_gradients, strict=True)
        errors[column] = dict(
            error=(norms.double() / exact - 1).abs().max().item(),
            gradient_error=max(((g.double() - e).norm() / e.norm()).item() for g, e in pairs),
        )
    return errors


def _measure_times(
    x: Tensor, y: Tensor, settings: Settings, on_progress: Callable[[str], None]
) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of the forward and the backward pass of each repetition.

    The columns take turns, so that other work on the machine affects all of them. A slow column is repeated only within its
    time limit. The first round is a warm-up.
    """
    times: dict[str, list[tuple[float, float]]] = {column: [] for column in (*FLOORS, *settings.columns)}
    spent = dict.fromkeys(times, 0.0)
    for repeat in range(settings.repeats + 1):
        for column in times:
            if repeat > 1 and spent[column] > settings.seconds:
                continue
            on_progress(f'{column}, {repeat}')
            if column in FLOORS:
                forward, backward = _time_floor(x, y, pool=column == 'floor')
            else:
                forward, backward, _, _ = _run(IMPLEMENTATIONS[column], x, y)
            spent[column] += forward + backward
            if repeat:
                times[column].append((forward, backward))
    return times


def measure_constants(device: str) -> dict[str, float]:
    """Measure the figures of :class:`lckd_mm.spectral.planning.DeviceProfile` on this machine.

    Args:
        device (str): ``'cpu'`` or ``'cuda'``.

    Returns:
        dict[str, float]: Bandwidths in bytes per second, floating-point operations per second, seconds per call.
    """

    def seconds(function: Callable[[], Any]) -> float:
        for _ in range(3):
            function()
        times = []
        for _ in range(20):
            start = synchronized_time(device)
            function()
            times.append(synchronized_time(device) - start)
        return statistics.median(times)

    def bandwidth(batch: int, rows: int, columns: int) -> float:
        matrix, row = torch.randn(batch, rows, columns, device=device), torch.randn(batch, 1, rows, device=device)
        return matrix.nbytes / seconds(lambda: torch.bmm(row, matrix))

    x, y = torch.randn(8, 256, 784, device=device), torch.randn(8, 512, 784, device=device)
    small = torch.randn(8, 1, 256, device=device)
    return dict(
        cache_bandwidth=bandwidth(8, 256, 784),
        memory_bandwidth=bandwidth(64, 256, 3136),
        flops=2 * 8 * 256 * 512 * 784 / seconds(lambda: torch.bmm(x, y.mT)),
        seconds_per_call=seconds(lambda: [torch.linalg.vector_norm(small * 2, dim=2) for _ in range(100)]) / 200,
    )


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
