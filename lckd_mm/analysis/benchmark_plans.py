"""The time of every plan for a spectral norm, to check the choice of the cost model."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lckd_mm.spectral import transmitting_spectral_norm
from lckd_mm.spectral.planning import Plan, force_plan, make_plan

from .benchmark import geometric_mean, synchronized_time
from .benchmark_rounds import Limits, Times, describe_ratio, estimate_ratio, measure_rounds
from .benchmark_spectral_cases import NUM_ITERS, Settings, Shape, make_maps, shape_name
from .comparison_statistics import PairedEstimate
from .tables import markdown_table

Row = dict[str, Any]
"""The result for one shape: its ``name``, the ``chosen`` plan and the ``seconds`` of each round by plan."""

# (batch, C1, H1, W1, C2, H2, W2): narrow maps, for which T is small, and wide ones, whose batch exceeds the cache.
SHAPES: tuple[Shape, ...] = tuple(
    (batch, c1, side1, side1, c2, side2, side2)
    for batch, c1, side1, c2, side2 in (
        (128, 16, 32, 32, 32),
        (128, 32, 32, 64, 16),
        (128, 64, 16, 128, 8),
        (64, 64, 14, 64, 14),
        (64, 64, 56, 64, 56),
        (64, 64, 28, 128, 28),
        (64, 128, 14, 128, 14),
        (64, 128, 28, 128, 28),
        (64, 256, 14, 256, 14),
        (64, 512, 14, 512, 14),
        (32, 64, 56, 128, 28),
        (32, 128, 28, 256, 14),
        (32, 256, 14, 512, 7),
        (32, 512, 28, 1024, 14),
        (16, 16, 56, 32, 28),
        (16, 64, 96, 64, 96),
        (16, 128, 28, 128, 28),
        (16, 128, 56, 128, 56),
        (16, 512, 28, 512, 28),
        (8, 64, 80, 128, 40),
        (8, 256, 56, 512, 28),
        (8, 512, 38, 1024, 19),
        (4, 256, 129, 512, 65),
        (4, 1024, 33, 2048, 33),
    )
)
# Twice the largest chunk that the cost model considers.
_MAX_CHUNK_BYTES = 64e6
_CHUNKS = (1, 2, 4, 8, 16, 32, 64, 128)


def plan_name(plan: Plan) -> str:
    """Return a short name of the plan of one pair.

    Example:
        >>> plan_name(Plan(8, (True,)))
        '8 materialized'
    """
    return f'{plan.images_per_chunk} {"materialized" if plan.materialized[0] else "factored"}'


def make_plans(shape: Shape, device: str) -> tuple[Plan, list[Plan]]:
    """Return the plan that the cost model chooses, and all that are compared, which include it.

    Args:
        shape (Shape): (batch, C1, H1, W1, C2, H2, W2).
        device (str): ``'cpu'`` or ``'cuda'``. A GPU processes whole batches.

    Returns:
        tuple[Plan, list[Plan]]: The chosen plan and the compared ones.

    Example:
        >>> chosen, plans = make_plans((2, 8, 8, 8, 16, 4, 4), 'cpu')
        >>> [plan_name(plan) for plan in plans]
        ['1 factored', '1 materialized', '2 factored', '2 materialized']
        >>> chosen in plans
        True
    """
    batch, c1, h1, w1, c2, h2, w2 = shape
    num_positions = min(h1, h2) * min(w1, w2)
    chosen = make_plan(((c1, c2, num_positions),), batch, 'lanczos', NUM_ITERS, 4, device)
    bytes_per_image = num_positions * (c1 + c2) * 4
    sizes = {size for size in _CHUNKS if size <= batch and size * bytes_per_image <= _MAX_CHUNK_BYTES}
    sizes = {batch} if chosen.joint else sizes | {1, chosen.images_per_chunk}
    plans = [Plan(size, (kind,), chosen.joint) for size in sorted(sizes) for kind in (False, True)]
    return chosen, plans


def measure_plans(shape: Shape, device: str, num_rounds: int, on_progress: Callable[[str], None]) -> Row:
    """Measure forward and backward pass of a spectral norm under every plan.

    Args:
        shape (Shape): (batch, C1, H1, W1, C2, H2, W2).
        device (str): ``'cpu'`` or ``'cuda'``.
        num_rounds (int): Number of rounds, in which the plans take turns in random order.
        on_progress (Callable[[str], None]): Receives what is being measured.

    Returns:
        dict: ``name`` of the shape, name of the ``chosen`` plan, and ``seconds`` of each round by the name of the plan.
    """
    x, y = (feature.requires_grad_() for feature in make_maps(shape, Settings(device=device)))

    def make_computation(plan: Plan) -> Callable[[], float]:
        def compute() -> float:
            start = synchronized_time(device)
            with force_plan(plan):
                norms = transmitting_spectral_norm(x, y, num_iters=NUM_ITERS)
            torch.autograd.grad(norms.sum(), (x, y))
            return synchronized_time(device) - start

        return compute

    chosen, plans = make_plans(shape, device)
    name = shape_name(shape)
    seconds = measure_rounds(
        {plan_name(plan): make_computation(plan) for plan in plans},
        (),
        Limits(num_rounds, 0.0),
        lambda title: on_progress(f'{name}: {title}'),
    )
    return dict(name=name, chosen=plan_name(chosen), seconds=seconds)


def report_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table of the plans, and what the choice of the cost model costs.

    Args:
        rows (Sequence[dict]): Results of :func:`measure_plans`.

    Returns:
        list[str]: The lines in Markdown.
    """
    header = ['shape', 'chosen', 'ms', 'fastest factored', 'ms', 'fastest materialized', 'ms']
    header += ['materialized / factored', 'chosen / fastest']
    cells, losses = [], []
    for row in rows:
        times, chosen = row['seconds'], row['chosen']
        factored, materialized = (fastest_plan(times, kind) for kind in ('factored', 'materialized'))
        loss = _ratio(times, chosen, fastest_plan(times))
        losses.append(loss.mean)
        cells.append(
            [
                row['name'],
                *(
                    cell
                    for plan in (chosen, factored, materialized)
                    for cell in (plan, f'{_milliseconds(times, plan):.2f}')
                ),
                describe_ratio(_ratio(times, materialized, factored)),
                f'{loss.mean:.2f}',
            ]
        )
    num_rounds = len(next(iter(rows[0]['seconds'].values())))
    return [
        *markdown_table(header, cells),
        '',
        f'Geometric means of {num_rounds} rounds, ratios with 95 % intervals. The chosen plan takes {geometric_mean(losses):.3f} times '
        f'as long as the fastest in the geometric mean over the shapes, {max(losses):.2f} times at most.',
    ]


def fastest_plan(times: Times, kind: str = '') -> str:
    """Return the name of the fastest plan of a kind.

    Args:
        times (dict): Seconds of each round by the name of the plan.
        kind (str): ``'factored'``, ``'materialized'`` or ``''`` for both. Defaults to ``''``.

    Returns:
        str: The name.

    Example:
        >>> fastest_plan({'1 factored': [2.0], '2 factored': [1.0], '2 materialized': [0.5]}, 'factored')
        '2 factored'
    """
    return min((name for name in times if name.endswith(kind)), key=lambda name: geometric_mean(times[name]))


def _milliseconds(times: Times, plan: str) -> float:
    return geometric_mean(times[plan]) * 1e3


def _ratio(times: Times, plan: str, reference: str) -> PairedEstimate:
    estimate = estimate_ratio(times, (plan, reference))
    assert estimate is not None
    return estimate
