import dataclasses
import math
from pathlib import Path

import pytest

from lckd_mm.analysis.comparison import Comparison, Variant
from lckd_mm.analysis.comparison_plan import Plan, Setting
from lckd_mm.analysis.comparison_plot import plot_comparison
from lckd_mm.analysis.comparison_report import Report, make_sentences
from lckd_mm.analysis.comparison_tables import make_tables
from lckd_mm.analysis.comparison_verdict import Verdict, list_pairs, make_verdicts, num_digits, verdict_sentence

BASELINE = [30.0, 31.0, 32.0, 30.5, 31.5]
# Differences with mean 1 and standard deviation sqrt(0.025).
CLEAR = [1.0, 1.2, 0.8, 1.1, 0.9]
# Mean 0.5, standard deviation 1.
NOISE = [0.5, 1.5, -0.5, 1.5, -0.5]


def result(value: float, seconds: float = 0.5) -> dict:
    course = dict(split='val', steps=[1, 2], values=[value - 1, value], last=value, best=value)
    return dict(report=dict(split='test', value=value), seconds_per_iteration=seconds, select=course)


def compare(differences: dict[str, list[float]], seconds: float = 0.5, **options: object) -> list[Verdict]:
    """Compare variants whose values are those of the baseline plus these differences."""
    comparison, plan, results = parts(differences, seconds, **options)
    return make_verdicts(comparison, plan, results)


def parts(differences: dict[str, list[float]], seconds: float = 0.5, **options: object) -> tuple:
    against = options.pop('against', {})
    variants = [Variant('baseline', 'a.py'), *(Variant(n, 'b.py', against=against.get(n)) for n in differences)]
    comparison = Comparison(tuple(variants), 'mIoU', seeds=tuple(range(5)), **options)
    values = {'baseline': BASELINE} | {
        name: [base + difference for base, difference in zip(BASELINE, entries)]
        for name, entries in differences.items()
    }
    results = {
        name: {seed: result(value, 0.5 if name == 'baseline' else seconds) for seed, value in enumerate(entries)}
        for name, entries in values.items()
    }
    return comparison, Plan(confirmed=[Setting(variant) for variant in variants]), results


def test_primary_comparison_is_not_adjusted_and_the_others_are() -> None:
    first, second, third = compare({'A': CLEAR, 'B': CLEAR, 'C': NOISE})
    assert (first.is_primary, second.is_primary, third.is_primary) == (True, False, False)
    assert first.adjusted_p == first.difference.p_value
    # The smaller of two p values is doubled, the larger one is not.
    assert second.adjusted_p == pytest.approx(2 * second.difference.p_value)
    assert third.adjusted_p == third.difference.p_value
    assert [v.word for v in (first, second, third)] == ['helps', 'helps', 'cannot tell']


def test_verdict_of_a_secondary_comparison_uses_the_adjusted_p_value() -> None:
    # t = 0.52 / (0.396 / sqrt(5)) = 2.93, between 2.78 (p = 0.05) and 3.50 (p = 0.025) with 4 degrees of freedom.
    border = [1.0, 0.3, 0.2, 0.9, 0.2]
    primary, secondary, _ = compare({'A': border, 'B': border, 'C': NOISE})
    assert primary.word == 'helps'
    assert secondary.difference.p_value < 0.05 < secondary.adjusted_p
    assert secondary.word == 'cannot tell'
    assert secondary.more_seeds >= 1


def test_lower_metric_can_be_better() -> None:
    assert compare({'A': CLEAR}, lower_is_better=True)[0].word == 'harms'
    assert compare({'A': [-d for d in CLEAR]}, lower_is_better=True)[0].word == 'helps'
    assert compare({'A': [-d for d in CLEAR]})[0].word == 'harms'


def test_variants_are_compared_with_the_baseline_and_with_their_reference() -> None:
    comparison, plan, _ = parts(
        {'PKD': CLEAR, 'LCKD + PKD': CLEAR}, against={'LCKD + PKD': 'PKD'}, primary=('LCKD + PKD', 'PKD')
    )
    assert list_pairs(comparison, plan) == [
        ('LCKD + PKD', 'PKD'),
        ('PKD', 'baseline'),
        ('LCKD + PKD', 'baseline'),
    ]
    # PKD was not confirmed.
    plan.confirmed = [setting for setting in plan.confirmed if setting.variant.name != 'PKD']
    assert list_pairs(comparison, plan) == [('LCKD + PKD', 'baseline')]
    sentences = make_sentences(Report(comparison, plan, {}, [], 'data.', 't'))
    assert 'The primary comparison, LCKD + PKD with PKD, was not confirmed after the screening.' in sentences


def test_only_common_seeds_are_paired() -> None:
    comparison, plan, results = parts({'A': CLEAR})
    del results['A'][0], results['baseline'][3]
    (verdict,) = make_verdicts(comparison, plan, results)
    assert verdict.seeds == (1, 2, 4)
    assert verdict.difference.mean == pytest.approx((1.2 + 0.8 + 0.9) / 3)
    del results['baseline'][1], results['baseline'][2], results['baseline'][4]
    assert make_verdicts(comparison, plan, results) == []


def test_time_ratio_is_relative_to_the_reference() -> None:
    assert compare({'A': CLEAR}, seconds=0.6)[0].time_ratio.mean == pytest.approx(1.2)


def sentence(differences: list[float], **options: object) -> str:
    comparison, plan, results = parts({'LCKD': differences}, **options)
    (verdict,) = make_verdicts(comparison, plan, results)
    return verdict_sentence(verdict, comparison, digits=2)


def test_sentences() -> None:
    # 1 +- 2.776 * sqrt(0.025 / 5).
    assert sentence(CLEAR) == (
        'LCKD helps compared with baseline: +1.00 points of mIoU (95 % interval +0.80 to +1.20, 5 seeds, p < 0.001).'
    )
    assert sentence([-d for d in CLEAR]).startswith('LCKD harms compared with baseline: -1.00 points of mIoU')
    # 0.5 +- 2.776 / sqrt(5); t = 1.118. 34 seeds have the power 0.8 for half a standard deviation.
    assert sentence(NOISE) == (
        'Cannot tell whether LCKD helps compared with baseline: +0.50 points of mIoU (95 % interval -0.74 to +1.74, 5 seeds, '
        'p = 0.326); about 29 more seeds would show a difference of this size.'
    )
    comparison, plan, results = parts({'LCKD': NOISE})
    (verdict,) = make_verdicts(comparison, plan, results)
    one_more = verdict_sentence(dataclasses.replace(verdict, more_seeds=1), comparison, digits=2)
    assert one_more.endswith('; about 1 more seed would show a difference of this size.')
    assert sentence([0.0] * 5).endswith('both have the same value with every seed.')
    assert sentence([1e-4, 1, -1, 1, -1]).endswith('not even 1000 seeds would show a difference of this size.')
    assert sentence([math.nan, *CLEAR[1:]]).endswith('a value is not a number.')


def test_one_seed_gives_no_verdict() -> None:
    comparison, plan, results = parts({'LCKD': CLEAR})
    results = {name: {0: runs[0]} for name, runs in results.items()}
    (verdict,) = make_verdicts(comparison, plan, results)
    assert verdict_sentence(verdict, comparison, 2) == (
        'Cannot tell whether LCKD helps compared with baseline: +1.00 points of mIoU with 1 seed; at least two seeds are needed.'
    )
    assert verdict.more_seeds is None


def test_diverged_training_leaves_the_other_verdicts() -> None:
    verdicts = compare({'A': CLEAR, 'B': [math.nan, *CLEAR[1:]], 'C': CLEAR})
    assert [verdict.word for verdict in verdicts] == ['helps', 'cannot tell', 'helps']
    assert verdicts[1].more_seeds is None


def test_fractions_have_four_digits() -> None:
    assert num_digits([0.71, 0.7]) == 4
    assert num_digits([0.71, 31.2]) == 2


@pytest.mark.parametrize('num_variants', [1, 3, 13])
def test_report_and_plot_of_any_number_of_variants(num_variants: int, tmp_path: Path) -> None:
    comparison, plan, results = parts({f'variant {index}': NOISE for index in range(1, num_variants)})
    report = Report(comparison, plan, results, make_verdicts(comparison, plan, results), 'data.', 't')
    tables = make_tables(report)
    assert len(tables[0][2]) == num_variants
    assert all(len(row) == len(header) for _, header, rows in tables for row in rows)
    plot_comparison(comparison, results, report.verdicts, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 10_000
