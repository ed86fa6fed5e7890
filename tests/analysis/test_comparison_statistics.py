import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lckd_mm.analysis.comparison_statistics import (
    holm_adjust,
    mean_interval,
    paired_difference,
    paired_ratio,
    seeds_needed,
    verdict_word,
)

VALUES = [35.1, 34.8, 36.0, 35.5, 34.9]
REFERENCE = [34.4, 34.5, 34.9, 34.7, 34.6]
# Quantile 0.975 of Student's t distribution with 4 degrees of freedom, from a printed table.
T_4 = 2.776445


def test_paired_t_interval_is_the_formula() -> None:
    estimate = paired_difference(VALUES, REFERENCE)
    difference = np.subtract(VALUES, REFERENCE)
    half = T_4 * np.sqrt(((difference - difference.mean()) ** 2).sum() / 4) / np.sqrt(5)
    assert (estimate.low, estimate.high) == pytest.approx(
        (difference.mean() - half, difference.mean() + half), abs=1e-6
    )
    assert estimate.num_pairs == 5


def test_bootstrap_interval_is_that_of_all_resamples_and_repeatable() -> None:
    estimate = paired_difference(VALUES, REFERENCE, 'bootstrap')
    means = [np.mean(resample) for resample in itertools.product(np.subtract(VALUES, REFERENCE), repeat=5)]
    assert (estimate.low, estimate.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.02)
    assert estimate == paired_difference(VALUES, REFERENCE, 'bootstrap')
    assert estimate.high - estimate.low < paired_difference(VALUES, REFERENCE).high - estimate.low


def test_p_value_of_a_known_example() -> None:
    """t = 2 sqrt(3) with 2 degrees of freedom, for which the distribution has a closed form."""
    t = 2 * math.sqrt(3)
    assert paired_difference([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))


def test_one_pair_has_no_interval() -> None:
    estimate = paired_difference([2.0], [1.5])
    assert (estimate.mean, estimate.low, estimate.p_value, estimate.num_pairs) == (0.5, None, None, 1)
    assert mean_interval([2.0]) == (2.0, None)


@pytest.mark.parametrize('interval', ['t', 'bootstrap'])
@pytest.mark.parametrize(('shift', 'p_value'), [(5.0, 0.0), (0.0, 1.0)])
def test_equal_differences_are_certain(shift: float, p_value: float, interval: str) -> None:
    estimate = paired_difference([1.0 + shift, 2.0 + shift], [1.0, 2.0], interval)
    assert (estimate.mean, estimate.low, estimate.high, estimate.p_value) == (shift, shift, shift, p_value)


def test_different_numbers_of_values_are_not_paired() -> None:
    with pytest.raises(ValueError, match='shorter'):
        paired_difference([1.0, 2.0], [1.0])


def test_ratio_is_the_geometric_mean_with_an_interval_of_the_logarithms() -> None:
    estimate = paired_ratio([0.52, 0.55, 0.50], [0.50, 0.50, 0.49])
    logs = np.log(np.divide([0.52, 0.55, 0.50], [0.50, 0.50, 0.49]))
    # Quantile 0.975 with 2 degrees of freedom.
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)
    expected = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx(expected, rel=1e-6)


def test_holm_example_by_hand() -> None:
    # Sorted: 0.005 * 4 = 0.02; 0.01 * 3 = 0.03; 0.03 * 2 = 0.06; 0.04 * 1 = 0.04, raised to the 0.06 before it.
    assert holm_adjust([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjust([0.9, 0.8]) == [1.0, 1.0]
    assert holm_adjust([0.03]) == [0.03]
    assert holm_adjust([]) == []


def test_holm_keeps_the_error_of_the_family() -> None:
    generator = np.random.default_rng(0)
    errors = np.mean([min(holm_adjust(list(generator.uniform(size=6)))) < 0.05 for _ in range(4000)])
    # Six independent true hypotheses: 1 - (1 - 0.05 / 6)^6 = 0.049 instead of 1 - 0.95^6 = 0.26.
    assert errors == pytest.approx(0.049, abs=0.012)


@pytest.mark.parametrize('effect', [0.5, 1.0, 2.0, 6.0, 8.0])
def test_number_of_seeds_has_the_power(effect: float) -> None:
    count = seeds_needed(effect, 1.0)
    generator = np.random.default_rng(0)

    def power(number: int) -> float:
        samples = generator.normal(effect, 1.0, (20000, number))
        return np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)

    assert power(count) > 0.79
    assert power(count - 1) < 0.81


def test_number_of_seeds_has_limits() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.001, 1.0) is None
    assert seeds_needed(1.0, 0.0) == 2
    assert seeds_needed(1000.0, 1.0) == 2
    assert seeds_needed(1.0, 1.0, level=0.01) > seeds_needed(1.0, 1.0)


def test_verdict_of_a_diverged_training_is_open() -> None:
    assert verdict_word(math.nan, math.nan) == 'cannot tell'
    assert verdict_word(-1.0, 0.049) == 'harms'
    assert verdict_word(-1.0, 0.05) == 'cannot tell'
    assert verdict_word(-1.0, 0.01, lower_is_better=True) == 'helps'
    assert verdict_word(1.0, None) == 'cannot tell'
