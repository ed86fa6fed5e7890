"""Time and memory of the Lipschitz loss while one of its sizes varies."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lckd_mm.models.connectors import SpectralNormConnector
from lckd_mm.models.losses import LipschitzLoss

from .benchmark import peak_memory, synchronized_time
from .benchmark_growth_cases import QUANTITIES, Case, Grid
from .benchmark_rounds import Limits, measure_rounds

Row = dict[str, Any]
"""The result for one case: ``quantity``, ``size``, the attributes of the case, ``seconds``, ``memory`` and ``gradients``."""


def map_shape(case: Case) -> tuple[int, int, int, int]:
    """Return the shape of each map.

    Args:
        case (Case): The sizes.

    Returns:
        tuple[int, int, int, int]: (B, C, H, W).
    """
    return case.images, case.channels, case.side, case.side


def make_networks(case: Case, numbers: Tensor) -> list[list[Tensor]]:
    """Return the maps of student and teacher, which lie one after the other in the same memory.

    Args:
        case (Case): The sizes.
        numbers (Tensor): Random numbers, enough for all maps.

    Returns:
        list[list[Tensor]]: The maps of each network.

    Example:
        >>> student, teacher = make_networks(Case(2, 4, 3, 8), torch.randn(2000))
        >>> len(student), student[0].shape
        (3, torch.Size([2, 8, 4, 4]))
    """
    shape = map_shape(case)
    maps = numbers[: 2 * case.taps * math.prod(shape)].view(2, case.taps, *shape)
    return [list(network.unbind()) for network in maps]


def make_computation(case: Case, numbers: Tensor) -> Callable[[], float]:
    """Return a function that computes the Lipschitz loss and the gradient of the student's maps.

    Args:
        case (Case): The sizes.
        numbers (Tensor): As in :func:`make_networks`.

    Returns:
        Callable[[], float]: The function, which returns its duration in seconds.
    """
    connector, loss = SpectralNormConnector(), LipschitzLoss(distance='log')
    student, teacher = make_networks(case, numbers)

    def compute() -> float:
        leaves = [feature.detach().requires_grad_() for feature in student]
        start = synchronized_time(numbers.device.type)
        loss(*connector.forward_networks([leaves, teacher])).backward()
        return synchronized_time(numbers.device.type) - start

    return compute


def measure_growth(grid: Grid, device: str, num_rounds: int, on_progress: Callable[[str], None]) -> list[Row]:
    """Measure all cases of a grid. In each round, all of them take turns in random order.

    Args:
        grid (Grid): The cases.
        device (str): ``'cpu'`` or ``'cuda'``.
        num_rounds (int): Number of rounds.
        on_progress (Callable[[str], None]): Receives what is being measured.

    Returns:
        list[dict]: One row per case: the ``quantity`` that varies and its ``size``; the attributes of the case; the ``seconds`` of each
        round; the peak ``memory`` in bytes in addition to the maps; and how much of it the ``gradients`` of the student's maps take.
    """
    cases = grid.cases()
    num_numbers = max(2 * case.taps * math.prod(map_shape(case)) for _, case in cases)
    numbers = torch.randn(num_numbers, generator=torch.Generator().manual_seed(0)).to(device)
    titles = [f'{QUANTITIES[key][0]} = {QUANTITIES[key][1](case)}' for key, case in cases]
    computations = {title: make_computation(case, numbers) for title, (_, case) in zip(titles, cases, strict=True)}
    seconds = measure_rounds(computations, (), Limits(num_rounds, 0.0), on_progress)
    rows = []
    for title, (key, case) in zip(titles, cases, strict=True):
        on_progress(f'memory: {title}')
        rows.append(
            dict(
                quantity=key,
                size=QUANTITIES[key][1](case),
                **dataclasses.asdict(case),
                seconds=seconds[title],
                memory=peak_memory(computations[title], device),
                gradients=case.taps * math.prod(map_shape(case)) * numbers.element_size(),
            )
        )
    return rows
