"""Sentences, tables and JSON of the evaluations on corrupted images."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .comparison_robustness_report import MEAN, Course, Courses, Difference, RobustnessReport, relative_values
from .comparison_statistics import mean_and_deviation
from .comparison_verdict import format_interval, format_p, format_values, num_digits

Table = tuple[str, list[str], list[list[str]]]


def robustness_sentences(report: RobustnessReport) -> list[str]:
    """Return one sentence about the corruptions, and one for each pair.

    Args:
        report (RobustnessReport): The report.

    Returns:
        list[str]: The sentences.
    """
    comparison = report.comparison
    robustness, digits = comparison.robustness, _digits(report.courses)
    sentences = [
        f'Corrupted images: {len(robustness.corruptions)} corruptions ({", ".join(robustness.corruptions)}) at severity '
        f'{", ".join(map(str, report.severities))}.'
    ]
    for d in report.differences:
        if d.severity == MEAN:
            count = len(d.seeds)
            verb = (
                f'{d.variant} {d.word} compared'
                if d.word != 'cannot tell'
                else f'cannot tell whether {d.variant} helps compared'
            )
            p_value = format_p(d.adjusted_p)
            numbers = f'{d.difference.mean:+.{digits}f} {comparison.metric}, {count} seed{"s" * (count > 1)}'
            if d.difference.low is not None:
                interval = format_interval(d.difference, digits)
                numbers += f', 95 % interval {interval}, adjusted p {p_value if "<" in p_value else f"= {p_value}"}'
            sentences.append(f'On corrupted images, {verb} with {d.reference}: {numbers}.')
    return sentences


def robustness_tables(report: RobustnessReport) -> list[Table]:
    """Return the tables of values, of differences and of further metrics.

    Args:
        report (RobustnessReport): The report.

    Returns:
        list[Table]: Title, header and rows of each table.
    """
    severities = [f'severity {severity}' for severity in report.severities]
    digits = _digits(report.courses)
    rows = [
        [variant, str(len(seeds)), *_cells(seeds, digits), format_values([*relative_values(seeds).values()], 3)]
        for variant, seeds in report.courses.items()
    ]
    header = ['variant', 'seeds', 'clean', *severities, 'mean', 'mean / clean']
    title = f'{report.comparison.metric} on corrupted images: mean over the corruptions'
    tables: list[Table] = [(title, header, rows)]
    if report.differences:
        header = ['variant', 'against', 'severity', 'difference', '95 % interval', 'p', 'verdict']
        rows = [
            [d.variant, d.reference, str(d.severity), *_estimate_cells(d, digits), str(d.word)]
            for d in report.differences
        ]
        tables.append(("Differences on corrupted images by seed (p: Holm's)", header, rows))
    for metric, courses in report.further.items():
        digits = _digits(courses)
        rows = [[variant, str(len(seeds)), *_cells(seeds, digits)] for variant, seeds in courses.items()]
        tables.append(
            (f'{metric}: mean over the corruptions', ['variant', 'seeds', 'clean', *severities, 'mean'], rows)
        )
        differences = [d for d in report.further_differences if d.metric == metric]
        rows = [
            [d.variant, d.reference, 'clean' if d.severity == 0 else 'corrupted', *_estimate_cells(d, digits)]
            for d in differences
        ]
        if rows:
            header = ['variant', 'against', 'images', 'difference', '95 % interval', 'p']
            tables.append((f"{metric}: differences by seed (p: Holm's)", header, rows))
    return tables


def _digits(courses: Courses) -> int:
    return num_digits([value for seeds in courses.values() for course in seeds.values() for value in course.values()])


def _cells(seeds: Mapping[int, Course], digits: int) -> list[str]:
    columns = next(iter(seeds.values()))
    return [format_values([course[column] for course in seeds.values()], digits) for column in columns]


def _estimate_cells(difference: Difference, digits: int) -> list[str]:
    estimate = difference.difference
    return [f'{estimate.mean:+.{digits}f}', format_interval(estimate, digits), format_p(difference.adjusted_p)]


def robustness_json(report: RobustnessReport) -> dict[str, Any]:
    """Return the content of the key ``robustness`` of ``comparison.json``.

    Args:
        report (RobustnessReport): The report.

    Returns:
        dict: The content.
    """
    robustness = report.comparison.robustness

    def as_json(courses: Courses) -> dict[str, Any]:
        return {
            variant: {
                str(seed): {str(severity): value for severity, value in course.items()}
                for seed, course in seeds.items()
            }
            for variant, seeds in courses.items()
        }

    return dict(
        corruptions=list(robustness.corruptions),
        severities=report.severities,
        options=list(robustness.options),
        values=as_json(report.courses),
        relative={
            variant: mean_and_deviation([*relative_values(s).values()])[0] for variant, s in report.courses.items()
        },
        by_corruption=report.by_corruption,
        further={metric: as_json(courses) for metric, courses in report.further.items()},
        comparisons=[asdict(difference) for difference in (*report.differences, *report.further_differences)],
    )
