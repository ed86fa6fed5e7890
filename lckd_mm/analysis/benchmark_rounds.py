"""Repeated measurements of several computations in rounds, until the ratios between them are known well enough."""

import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lckd_mm.errors import ConfigValueError

from .comparison_statistics import PairedEstimate, paired_ratio

Times = dict[str, list[float]]
"""Seconds of each round by name. Entry ``i`` of all names is from the same round."""

Ratio = tuple[str, str]
"""A computation, and the one that it is compared with."""


@dataclass(frozen=True)
class Limits:
    """How long to measure.

    Attributes:
        rounds: The smallest number of rounds.
        minutes: The time after which no further round starts, once there are ``rounds`` of them.
        width: Measure until the 95 % interval of every ratio is narrower than this share of the ratio.
        warmup: Number of rounds before the measurements.
    """

    rounds: int = 30
    minutes: float = 20.0
    width: float = 0.02
    warmup: int = 1

    def __post_init__(self) -> None:
        """Reject numbers of rounds that measure nothing."""
        if self.rounds < 1 or self.warmup < 0:
            raise ConfigValueError(
                f'{self.rounds} rounds after {self.warmup} for warm-up cannot be measured: use 1 or more, after 0 or more.'
            )


def measure_rounds(
    computations: Mapping[str, Callable[[], float]],
    ratios: Sequence[Ratio],
    limits: Limits,
    on_progress: Callable[[str], None],
) -> Times:
    """Measure each computation once per round, in an order that is drawn for each round.

    What disturbs the machine for longer than a computation changes all of a round alike, and leaves its ratios. A random order keeps the
    effect of one computation on the next, such as a filled cache, from always reaching the same one.

    Args:
        computations (Mapping[str, Callable]): Functions that return their duration in seconds.
        ratios (Sequence[tuple[str, str]]): The ratios whose intervals end the measurements.
        limits (Limits): How long to measure.
        on_progress (Callable): Receives what is being measured.

    Returns:
        dict[str, list[float]]: Seconds of each round by name.

    Example:
        >>> times = measure_rounds({'a': lambda: 1.0, 'b': lambda: 2.0}, [('b', 'a')], Limits(rounds=3, minutes=0), str)
        >>> times
        {'a': [1.0, 1.0, 1.0], 'b': [2.0, 2.0, 2.0]}
    """
    order, draw = list(computations), random.Random(0)
    times: Times = {name: [] for name in computations}
    start = time.monotonic()
    for number in itertools.count(1 - limits.warmup):
        draw.shuffle(order)
        title = f'round {number} of {limits.rounds} or more' if number > 0 else 'warm-up'
        for name in order:
            on_progress(f'{title}: {name}')
            seconds = computations[name]()
            if number > 0:
                times[name].append(seconds)
        is_over = time.monotonic() - start >= 60 * limits.minutes
        if number >= limits.rounds and (is_over or widest_interval(times, ratios) < limits.width):
            break
    return times


def estimate_ratio(times: Times, ratio: Ratio) -> PairedEstimate | None:
    """Return the geometric mean of a ratio over the rounds, with its interval.

    Args:
        times (dict): Result of :func:`measure_rounds`.
        ratio (tuple[str, str]): The two names.

    Returns:
        PairedEstimate | None: The estimate; None if one of the two was not measured.

    Example:
        >>> round(estimate_ratio({'a': [1.0, 2.0], 'b': [2.0, 4.0]}, ('b', 'a')).mean, 3)
        2.0
    """
    name, reference = ratio
    return paired_ratio(times[name], times[reference]) if {name, reference} <= times.keys() else None


def widest_interval(times: Times, ratios: Sequence[Ratio]) -> float:
    """Return the largest width of the intervals, as a share of the ratio; infinity if there is only one round.

    Args:
        times (dict): Result of :func:`measure_rounds`.
        ratios (Sequence[tuple[str, str]]): The ratios. Those that were not measured are left out.

    Returns:
        float: The width.
    """
    widths = [0.0]
    for estimate in (estimate_ratio(times, ratio) for ratio in ratios):
        if estimate is not None:
            known = estimate.low is not None and estimate.high is not None
            widths.append((estimate.high - estimate.low) / estimate.mean if known else float('inf'))  # type: ignore[operator]
    return max(widths)


def describe_ratio(estimate: PairedEstimate | None) -> str:
    """Return a ratio with its interval for a table.

    Example:
        >>> describe_ratio(estimate_ratio({'a': [1.0, 1.0], 'b': [2.0, 2.1]}, ('b', 'a')))
        '2.049 (1.503 to 2.794)'
    """
    if estimate is None:
        return ''
    interval = '' if estimate.low is None else f' ({estimate.low:.3f} to {estimate.high:.3f})'
    return f'{estimate.mean:.3f}{interval}'
