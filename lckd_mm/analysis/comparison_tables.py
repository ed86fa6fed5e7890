"""The tables of a comparison."""

from typing import TYPE_CHECKING

from .comparison_course import steps_to_baseline
from .comparison_plan import Setting
from .comparison_robustness_tables import Table, robustness_tables
from .comparison_statistics import mean_and_deviation
from .comparison_verdict import (
    Verdict,
    format_interval,
    format_p,
    format_values,
    iteration_time,
    num_digits,
    reported_value,
)

if TYPE_CHECKING:
    from .comparison_report import Report

_DIFFERENCES = "Differences by seed (p: Holm's, except in the first row)"


def make_tables(report: 'Report') -> list[Table]:
    """Return the tables of values, of comparisons and of the screening.

    Args:
        report (Report): The report.

    Returns:
        list[Table]: Title, header and rows of each table.
    """
    split = next((r['report']['split'] for r in report.all_results), '')
    steps = steps_to_baseline(report.results, report.comparison.names[0], report.comparison.lower_is_better)
    values = [[*_value_row(report, setting), _step_cell(steps, setting)] for setting in report.plan.confirmed]
    header = [
        'variant',
        'seeds',
        f'{report.comparison.metric}, {split}'.rstrip(', '),
        's / iteration',
        'steps to baseline',
    ]
    tables: list[Table] = [('Mean and standard deviation over the seeds', header, values)]
    if report.verdicts:
        header = ['variant', 'against', 'difference', '95 % interval', 'p', 'verdict', 'time ratio']
        rows = [_verdict_row(verdict, report.digits) for verdict in report.verdicts]
        tables.append((_DIFFERENCES, header, rows))
    if report.robustness is not None:
        tables += robustness_tables(report.robustness)
    if report.plan.screened:
        header = ['variant', 'setting', 'seeds', f'{report.comparison.metric}, {report.comparison.select_on}', 'chosen']
        rows = [_screening_row(report, setting) for setting in report.plan.screened]
        tables.append(('Screening', header, rows))
    return tables


def _value_row(report: 'Report', setting: Setting) -> list[str]:
    runs = list(report.results[setting.variant.name].values())
    if not runs:
        return [setting.title, '0', '-', '-']
    text = format_values([reported_value(run) for run in runs], report.digits)
    return [setting.title, str(len(runs)), text, f'{mean_and_deviation([*map(iteration_time, runs)])[0]:.3f}']


def _step_cell(steps: dict[str, float | None], setting: Setting) -> str:
    if setting.variant.name not in steps:
        return '-'
    step = steps[setting.variant.name]
    return 'not reached' if step is None else f'{step:.1f}'


def _verdict_row(verdict: Verdict, digits: int) -> list[str]:
    ratio = f'{verdict.time_ratio.mean:.3f}'
    if verdict.time_ratio.low is not None:
        ratio += f' ({format_interval(verdict.time_ratio, 3, sign="")})'
    return [
        verdict.variant,
        verdict.reference,
        f'{verdict.difference.mean:+.{digits}f}',
        format_interval(verdict.difference, digits),
        format_p(verdict.adjusted_p),
        verdict.word,
        ratio,
    ]


def _screening_row(report: 'Report', setting: Setting) -> list[str]:
    values = report.plan.screened[setting]
    known = [value for value in values.values() if value is not None]
    text = format_values(known, num_digits(known)) if known else '-'
    is_chosen = report.plan.chosen.get(setting.variant.name) == setting
    is_confirmed = setting in report.plan.confirmed
    options = ', '.join(setting.values) or 'default'
    chosen = 'confirmed' if is_confirmed else 'best of its grid' if is_chosen else ''
    return [setting.variant.name, options, f'{len(known)} of {len(values)}', text, chosen]
