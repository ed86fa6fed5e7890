"""Verdicts: from the results of a comparison to sentences that say whether a variant helps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .comparison import Comparison
from .comparison_plan import Plan
from .comparison_results import Result
from .comparison_statistics import (
    LEVEL,
    PairedEstimate,
    holm_adjust,
    mean_and_deviation,
    paired_difference,
    paired_ratio,
    seeds_needed,
    verdict_word,
)

# The results of each confirmed variant by seed.
Results = Mapping[str, Mapping[int, Result]]


@dataclass(frozen=True)
class Verdict:
    """The comparison of a variant with a reference.

    Attributes:
        variant: Name of the variant.
        reference: Name of the reference.
        is_primary: Whether it is the primary comparison, whose p value is not adjusted.
        seeds: The seeds that both have.
        difference: The difference of the metric.
        time_ratio: The ratio of the times per iteration.
        adjusted_p: Holm's adjusted p value; that of the t test for the primary comparison; None for fewer than two seeds.
        word: ``'helps'``, ``'harms'`` or ``'cannot tell'``.
        more_seeds: Number of further seeds that would show a difference of this size; None if it is shown, or if no number up to
            1000 would.
    """

    variant: str
    reference: str
    is_primary: bool
    seeds: tuple[int, ...]
    difference: PairedEstimate
    time_ratio: PairedEstimate
    adjusted_p: float | None
    word: str
    more_seeds: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``comparison.json``."""
        return asdict(self)


def primary_pair(comparison: Comparison, plan: Plan) -> tuple[str, str] | None:
    """Return variant and reference of the primary comparison.

    Args:
        comparison (Comparison): The comparison.
        plan (Plan): Its plan.

    Returns:
        tuple[str, str], optional: The names; None if there is one variant, or while the best of a group is not known.
    """
    if comparison.primary is not None:
        return comparison.primary
    if comparison.confirm_best_of is None:
        return (comparison.names[1], comparison.names[0]) if len(comparison.variants) > 1 else None
    if plan.best is None:
        return None
    against_best = [variant.name for variant in comparison.variants if variant.against == plan.best.name]
    return (against_best[0], plan.best.name) if against_best else (plan.best.name, comparison.names[0])


def list_pairs(comparison: Comparison, plan: Plan) -> list[tuple[str, str]]:
    """Return the pairs that are compared, the primary one first.

    Args:
        comparison (Comparison): The comparison.
        plan (Plan): Its plan.

    Returns:
        list[tuple[str, str]]: Names of variant and reference, all of which are confirmed.
    """
    primary = primary_pair(comparison, plan)
    pairs = [] if primary is None else [primary]
    for variant in comparison.variants[1:]:
        pairs.append((variant.name, comparison.names[0]))
        if variant.against is not None:
            pairs.append((variant.name, variant.against))
    confirmed = {setting.variant.name for setting in plan.confirmed}
    return [pair for pair in dict.fromkeys(pairs) if confirmed.issuperset(pair)]


def make_verdicts(comparison: Comparison, plan: Plan, results: Results, interval: str = 't') -> list[Verdict]:
    """Compare the variants.

    Args:
        comparison (Comparison): The comparison.
        plan (Plan): Its plan.
        results (Results): The results by variant and seed.
        interval (str): ``'t'`` or ``'bootstrap'``. Defaults to 't'.

    Returns:
        list[Verdict]: One verdict per pair that has a common seed, the primary one first.
    """
    primary = primary_pair(comparison, plan)
    compared = []
    for pair in list_pairs(comparison, plan):
        runs, reference_runs = (results.get(name, {}) for name in pair)
        seeds = tuple(seed for seed in comparison.seeds if seed in runs and seed in reference_runs)
        if seeds:
            ours, theirs = ([group[seed] for seed in seeds] for group in (runs, reference_runs))
            difference = paired_difference([*map(reported_value, ours)], [*map(reported_value, theirs)], interval)
            ratio = paired_ratio([*map(iteration_time, ours)], [*map(iteration_time, theirs)])
            compared.append((pair, seeds, difference, ratio))
    secondary = [
        estimate.p_value for pair, _, estimate, _ in compared if pair != primary and estimate.p_value is not None
    ]
    adjusted = iter(holm_adjust(secondary))
    verdicts = []
    for pair, seeds, difference, ratio in compared:
        is_primary = pair == primary
        p_value = difference.p_value if is_primary or difference.p_value is None else next(adjusted)
        word = verdict_word(difference.mean, p_value, comparison.lower_is_better)
        more_seeds = None
        if word == 'cannot tell' and difference.deviation is not None:
            # Bonferroni's level is below Holm's, so that the number is rather too large for secondary comparisons.
            needed = seeds_needed(
                difference.mean, difference.deviation, LEVEL if is_primary else LEVEL / len(secondary)
            )
            more_seeds = None if needed is None else max(needed - len(seeds), 1)
        verdicts.append(Verdict(*pair, is_primary, seeds, difference, ratio, p_value, word, more_seeds))
    return verdicts


def reported_value(result: Result) -> float:
    """Return the metric on the split that is reported."""
    return float(result['report']['value'])


def iteration_time(result: Result) -> float:
    """Return the seconds per iteration."""
    return float(result['seconds_per_iteration'])


def num_digits(values: list[float]) -> int:
    """Return the number of digits after the point: two for percentages, four for fractions.

    Args:
        values (list[float]): Values of the metric.

    Returns:
        int: The number.

    Example:
        >>> num_digits([61.2, 63.0]), num_digits([0.61])
        (2, 4)
    """
    return 2 if any(abs(value) > 1.5 for value in values) else 4


def format_values(values: Sequence[float], digits: int) -> str:
    """Format mean and, for two or more values, sample standard deviation.

    Args:
        values (Sequence[float]): One or more values.
        digits (int): Digits after the point.

    Returns:
        str: The text for a table.

    Example:
        >>> format_values([60.0, 62.0], 2), format_values([0.5], 4)
        ('61.00 ± 1.41', '0.5000')
    """
    mean, deviation = mean_and_deviation(values)
    return f'{mean:.{digits}f}' + ('' if deviation is None else f' ± {deviation:.{digits}f}')


def format_interval(estimate: PairedEstimate, digits: int, sign: str = '+') -> str:
    """Return the interval of an estimate as text.

    Args:
        estimate (PairedEstimate): The estimate.
        digits (int): Digits after the point.
        sign (str): ``'+'`` shows the sign of positive values. Defaults to '+'.

    Returns:
        str: The text; ``'-'`` for a single pair.

    Example:
        >>> format_interval(PairedEstimate(0.66, 0.41, 0.91, 0.2, 0.002, 5), 2)
        '+0.41 to +0.91'
    """
    if estimate.low is None or estimate.high is None:
        return '-'
    return f'{estimate.low:{sign}.{digits}f} to {estimate.high:{sign}.{digits}f}'


def format_p(p_value: float | None) -> str:
    """Return a p value as text.

    Args:
        p_value (float, optional): The p value.

    Returns:
        str: The text.

    Example:
        >>> format_p(0.0312), format_p(0.00001), format_p(None)
        ('0.031', '< 0.001', '-')
    """
    if p_value is None:
        return '-'
    return '< 0.001' if p_value < 0.001 else f'{p_value:.3f}'


def verdict_sentence(verdict: Verdict, comparison: Comparison, digits: int) -> str:
    """Return a verdict in words.

    Args:
        verdict (Verdict): The verdict.
        comparison (Comparison): The comparison.
        digits (int): Digits after the point.

    Returns:
        str: One sentence.
    """
    difference, count = verdict.difference, len(verdict.seeds)
    unit = f'points of {comparison.metric}' if digits == 2 and not comparison.lower_is_better else comparison.metric
    amount = f'{difference.mean:+.{digits}f} {unit}'
    seeds = f'{count} seed{"s" if count > 1 else ""}'
    if difference.low is None:
        return (
            f'Cannot tell whether {verdict.variant} helps compared with {verdict.reference}: {amount} with {seeds}; '
            'at least two seeds are needed.'
        )
    p_value = format_p(verdict.adjusted_p)
    p_text = f'{"p" if verdict.is_primary else "adjusted p"} {p_value if "<" in p_value else f"= {p_value}"}'
    evidence = f'{amount} (95 % interval {format_interval(difference, digits)}, {seeds}, {p_text})'
    if verdict.word != 'cannot tell':
        return f'{verdict.variant} {verdict.word} compared with {verdict.reference}: {evidence}.'
    start = f'Cannot tell whether {verdict.variant} helps compared with {verdict.reference}: {evidence}; '
    if math.isnan(difference.mean):
        return f'{start}a value is not a number.'
    if difference.mean == 0 and difference.deviation == 0:
        return f'{start}both have the same value with every seed.'
    if verdict.more_seeds is None:
        return f'{start}not even 1000 seeds would show a difference of this size.'
    more = '1 more seed' if verdict.more_seeds == 1 else f'{verdict.more_seeds} more seeds'
    return f'{start}about {more} would show a difference of this size.'
