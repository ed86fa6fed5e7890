"""The statistics of a comparison: paired differences and ratios with intervals, adjusted p values, and the number of seeds needed.

All functions are pure. Values are paired by seed: entry ``i`` of both arguments has the same seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

INTERVALS = ('t', 'bootstrap')

LEVEL = 0.05
"""A p value below it is a verdict; intervals cover ``1 - LEVEL``, 95 %."""

# The usual power of a planned study (Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988).
_POWER = 0.8
# More seeds are never planned; the search for a number of seeds ends there.
_MAX_SEEDS = 1000
# Efron and Tibshirani (An Introduction to the Bootstrap, 1993) use 1000 to 2000 for percentiles; more cost nothing here.
_NUM_RESAMPLES = 9999


@dataclass(frozen=True)
class PairedEstimate:
    """A mean of paired differences, or a geometric mean of paired ratios.

    Attributes:
        mean: The mean.
        low: Lower end of the interval; None for a single pair.
        high: Upper end of the interval; None for a single pair.
        deviation: Sample standard deviation of the differences (of the logarithms of ratios); None for a single pair.
        p_value: Two-sided p value of the paired t test; None for a single pair.
        num_pairs: Number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    deviation: float | None
    p_value: float | None
    num_pairs: int


def paired_difference(values: Sequence[float], reference: Sequence[float], interval: str = 't') -> PairedEstimate:
    """Return the mean of ``values - reference`` with a 95 % interval and the p value of the paired t test.

    Args:
        values (Sequence[float]): The values, one per seed.
        reference (Sequence[float]): The values of the reference with the same seeds.
        interval (str): ``'t'``: Student's t interval. ``'bootstrap'``: percentiles of the means of resampled differences; with few
            seeds it is too short. Defaults to 't'.

    Returns:
        PairedEstimate: The estimate. The p value is that of the t test with both intervals.

    Example:
        >>> estimate = paired_difference([3.0, 5.0, 7.0], [1.0, 2.0, 3.0])
        >>> estimate.mean, round(estimate.low, 3), round(estimate.high, 3), round(estimate.p_value, 4)
        (3.0, 0.516, 5.484, 0.0351)
    """
    differences = [value - other for value, other in zip(values, reference, strict=True)]
    (mean, deviation), count = mean_and_deviation(differences), len(differences)
    if deviation is None:
        return PairedEstimate(mean, None, None, None, None, count)
    low, high, p_value = _t_test(differences, deviation)
    if interval == 'bootstrap':
        low, high = _bootstrap_interval(differences, deviation)
    return PairedEstimate(mean, low, high, deviation, p_value, count)


def paired_ratio(values: Sequence[float], reference: Sequence[float]) -> PairedEstimate:
    """Return the geometric mean of ``values / reference`` with its 95 % t interval, computed on the logarithms.

    Args:
        values (Sequence[float]): Positive values, one per seed.
        reference (Sequence[float]): Positive values of the reference with the same seeds.

    Returns:
        PairedEstimate: The estimate.

    Example:
        >>> round(paired_ratio([2.0, 4.0], [1.0, 2.0]).mean, 6)
        2.0
    """
    logarithms = paired_difference([math.log(value) for value in values], [math.log(value) for value in reference])
    low, high = (None if end is None else math.exp(end) for end in (logarithms.low, logarithms.high))
    return replace(logarithms, mean=math.exp(logarithms.mean), low=low, high=high)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean of values and half the width of its 95 % t interval.

    Args:
        values (Sequence[float]): One or more values.

    Returns:
        tuple[float, float | None]: Mean and half width; None for a single value.

    Example:
        >>> mean, half = mean_interval([1.0, 2.0, 3.0])
        >>> mean, round(half, 3)
        (2.0, 2.484)
    """
    mean, deviation = mean_and_deviation(values)
    return mean, None if deviation is None else _t_test(values, deviation)[1] - mean


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation. Both are NaN if a value is.

    Args:
        values (Sequence[float]): One or more values.

    Returns:
        tuple[float, float | None]: Mean and standard deviation; None for a single value.

    Example:
        >>> mean_and_deviation([1.0, 2.0, 3.0])
        (2.0, 1.0)
    """
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _t_test(differences: Sequence[float], deviation: float) -> tuple[float, float, float]:
    """Return the ends of the t interval of the mean, and the p value of the t test."""
    mean = float(np.mean(differences))
    if math.isnan(deviation):
        # A training that diverged is no evidence.
        return math.nan, math.nan, 1.0
    if deviation == 0:
        # Equal differences: without a spread, any difference is certain, and no difference is none.
        return mean, mean, 1.0 if mean == 0 else 0.0
    test = stats.ttest_1samp(differences, 0)
    interval = test.confidence_interval(1 - LEVEL)
    return float(interval.low), float(interval.high), float(test.pvalue)


def _bootstrap_interval(differences: Sequence[float], deviation: float) -> tuple[float, float]:
    if math.isnan(deviation) or deviation == 0:
        return _t_test(differences, deviation)[:2]
    result = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=_NUM_RESAMPLES,
        confidence_level=1 - LEVEL,
        method='percentile',
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def holm_adjust(p_values: Sequence[float]) -> list[float]:
    """Return p values that are adjusted for their number by Holm's step-down method (Holm, Scand. J. Stat. 6, 1979).

    The probability that any of the true null hypotheses is rejected at level ``a`` stays at most ``a``, whatever their dependence.

    Args:
        p_values (Sequence[float]): The p values.

    Returns:
        list[float]: The adjusted p values in the same order.

    Example:
        >>> [round(p, 3) for p in holm_adjust([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def seeds_needed(mean: float, deviation: float, level: float = LEVEL) -> int | None:
    """Return the number of seeds with which a paired t test shows a difference of this size with probability 0.8.

    The power of the test is computed from the noncentral t distribution, as if the observed mean and standard deviation were true.

    Args:
        mean (float): The mean difference.
        deviation (float): The sample standard deviation of the differences.
        level (float): Level of the test. Defaults to 0.05.

    Returns:
        int, optional: The number, at least 2; None if it exceeds 1000.

    Example:
        >>> seeds_needed(mean=1.0, deviation=2.0)
        34
    """
    if mean == 0 or math.isnan(mean):
        return None
    if deviation == 0:
        return 2
    counts = np.arange(2, _MAX_SEEDS + 1)
    shift, critical = abs(mean) / deviation * np.sqrt(counts), stats.t.isf(level / 2, counts - 1)
    # scipy returns NaN for probabilities that are beyond its precision: the upper one is 1 there, and the lower one 0.
    upper = np.nan_to_num(stats.nct.sf(critical, counts - 1, shift), nan=1.0)
    lower = np.nan_to_num(stats.nct.cdf(-critical, counts - 1, shift), nan=0.0)
    sufficient = np.flatnonzero(upper + lower >= _POWER)
    return int(counts[sufficient[0]]) if len(sufficient) else None


def verdict_word(mean: float, p_value: float | None, lower_is_better: bool = False) -> str:
    """Return what a difference means.

    Args:
        mean (float): The mean difference.
        p_value (float, optional): The p value, adjusted if there are several comparisons.
        lower_is_better (bool): Whether a smaller metric is better. Defaults to False.

    Returns:
        str: ``'helps'``, ``'harms'`` or ``'cannot tell'``.

    Example:
        >>> verdict_word(0.5, 0.01), verdict_word(0.5, 0.01, lower_is_better=True), verdict_word(0.5, 0.2)
        ('helps', 'harms', 'cannot tell')
    """
    # `not <` also covers NaN, of a training that diverged.
    if p_value is None or not p_value < LEVEL:
        return 'cannot tell'
    return 'helps' if (mean > 0) != lower_is_better else 'harms'
