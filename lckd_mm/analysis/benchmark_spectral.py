"""Time, memory and error of the spectral norm in several implementations.

All columns of a row are measured in turn in one run, so that their ratios are comparable.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lckd_mm.spectral.planning import describe, make_plan

from .benchmark import peak_memory, synchronized_time
from .benchmark_spectral_cases import (
    FLOORS,
    IMPLEMENTATIONS,
    NUM_ITERS,
    Settings,
    Shape,
    SpectralNorm,
    make_maps,
    shape_name,
)
from .published import pool_to_common_size, published_matrix

# Student's t is 12.7 for the interval of 2 rounds, and 2.8 for that of 5.
_MIN_ROUNDS = 5


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

    Args:
        shape (Shape): The shapes of the maps.
        column (str): Name of the implementation.
        settings (Settings): Device, data type and memory format.

    Returns:
        float: Bytes.
    """
    x, y = make_maps(shape, settings)
    _run(IMPLEMENTATIONS[column], x, y)
    # The result is freed after the measurement, so that the gradients are part of the peak.
    return max(peak_memory(lambda: _run(IMPLEMENTATIONS[column], x, y), settings.device) - x.nbytes - y.nbytes, 0)


def measure_shape(shape: Shape, settings: Settings, on_progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure one row of the table.

    Args:
        shape (Shape): The shapes of the maps.
        settings (Settings): How to measure.
        on_progress (Callable[[str], None]): Receives what is being measured.

    Returns:
        dict: For each column the seconds of each round, ``forward`` and ``backward``, its ``memory`` in bytes and its relative errors;
        ``name``, ``shape`` and ``plan``.
    """
    x, y = make_maps(shape, settings)
    name = shape_name(shape)
    row: dict[str, Any] = dict(shape=shape, name=name)
    for column, errors in _measure_errors(x, y, settings).items():
        row[column] = errors
    for column, times in _measure_times(x, y, settings, lambda text: on_progress(f'{name}: {text}')).items():
        forward, backward = zip(*times, strict=True)
        row.setdefault(column, {}).update(forward=forward, backward=backward)
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
    """Return the seconds of the forward and the backward pass of each round.

    The columns take turns, so that other work on the machine affects all of them. A slow column leaves after the round in which it
    reaches its time limit, so that entry ``i`` of all columns is from the same round. The first round is a warm-up.
    """
    times: dict[str, list[tuple[float, float]]] = {column: [] for column in (*FLOORS, *settings.columns)}
    spent = dict.fromkeys(times, 0.0)
    for repeat in range(settings.repeats + 1):
        for column in times:
            if repeat > _MIN_ROUNDS and spent[column] > settings.seconds:
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
    # On a GPU, the wait for a single call takes longer than a small product.
    num_calls = 1 if device == 'cpu' else 10

    def seconds(function: Callable[[], Any]) -> float:
        for _ in range(3):
            function()
        times = []
        for _ in range(20):
            start = synchronized_time(device)
            for _ in range(num_calls):
                function()
            times.append((synchronized_time(device) - start) / num_calls)
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
