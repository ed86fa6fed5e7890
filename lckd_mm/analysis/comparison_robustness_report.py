"""The statistics of the evaluations on corrupted images: values by severity, paired differences, and further metrics."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .comparison import Comparison
from .comparison_plan import Plan, Run
from .comparison_robustness import Lines
from .comparison_statistics import PairedEstimate, holm_adjust, paired_difference, verdict_word
from .comparison_verdict import list_pairs
from .corrupted_test import CLEAN

MEAN = 'mean'
"""The mean over corruptions and severities, in place of a severity."""

# The metric by severity: 0 is the image as it is, and `MEAN` the mean over the others.
Course = dict[int | str, float]
# By variant and seed.
Courses = Mapping[str, Mapping[int, Course]]


@dataclass(frozen=True)
class Difference:
    """A paired difference of two variants at one severity.

    Attributes:
        variant: Name of the variant.
        reference: Name of the reference.
        metric: Name of the metric.
        severity: 0, a severity, or ``'mean'``.
        seeds: The seeds that both have.
        difference: The difference.
        adjusted_p: Holm's adjusted p value; None for fewer than two seeds.
        word: ``'helps'``, ``'harms'`` or ``'cannot tell'``; None for a further metric, of which lckd_mm does not know what is better.
    """

    variant: str
    reference: str
    metric: str
    severity: int | str
    seeds: tuple[int, ...]
    difference: PairedEstimate
    adjusted_p: float | None = None
    word: str | None = None


@dataclass(frozen=True)
class RobustnessReport:
    """What is reported of the evaluations on corrupted images.

    Attributes:
        comparison: The comparison.
        courses: The metric of the comparison by variant, seed and severity; the mean over the corruptions.
        further: The same for each further metric.
        differences: Paired differences of the metric of the comparison.
        further_differences: Paired differences of the further metrics.
        by_corruption: The metric by variant and corruption, mean over seeds and severities.
    """

    comparison: Comparison
    courses: Courses
    further: Mapping[str, Courses]
    differences: list[Difference]
    further_differences: list[Difference]
    by_corruption: Mapping[str, Mapping[str, float]]

    @property
    def severities(self) -> list[int]:
        """The severities in increasing order."""
        return sorted(self.comparison.robustness.severities)


def make_robustness_report(
    comparison: Comparison, plan: Plan, evaluations: Mapping[Run, Lines], interval: str = 't'
) -> RobustnessReport | None:
    """Compute the report of the runs whose evaluations are complete.

    Args:
        comparison (Comparison): The comparison.
        plan (Plan): Its plan.
        evaluations (Mapping[Run, Lines]): The evaluations by run, corruption and severity.
        interval (str): ``'t'`` or ``'bootstrap'``. Defaults to 't'.

    Returns:
        RobustnessReport, optional: The report; None if no run is complete.
    """
    needed = (CLEAN, *comparison.robustness.evaluations)
    complete = {run: lines for run, lines in evaluations.items() if all(pair in lines for pair in needed)}
    if not complete:
        return None
    first = next(iter(complete.values()))[CLEAN]
    names = [name for name in (comparison.metric, *first['added']) if name in first['metrics']]

    def courses(metric: str) -> dict[str, dict[int, Course]]:
        by_variant: dict[str, dict[int, Course]] = {}
        for run, lines in complete.items():
            by_variant.setdefault(run.setting.variant.name, {})[run.seed] = _course(lines, metric, comparison)
        return by_variant

    main, further = courses(comparison.metric), {name: courses(name) for name in names[1:]}
    pairs = list_pairs(comparison, plan)
    severities: list[int | str] = [*sorted(comparison.robustness.severities), MEAN]
    differences = _adjust(_differences(comparison, pairs, comparison.metric, main, severities, interval))
    words = [verdict_word(d.difference.mean, d.adjusted_p, comparison.lower_is_better) for d in differences]
    others = [_differences(comparison, pairs, name, values, (0, MEAN), interval) for name, values in further.items()]
    return RobustnessReport(
        comparison,
        main,
        further,
        [replace(difference, word=word) for difference, word in zip(differences, words)],
        _adjust([difference for group in others for difference in group]),
        _by_corruption(complete, comparison),
    )


def _course(lines: Lines, metric: str, comparison: Comparison) -> Course:
    robustness = comparison.robustness
    course: Course = {0: lines[CLEAN]['metrics'][metric]}
    for severity in sorted(robustness.severities):
        course[severity] = statistics.fmean(lines[name, severity]['metrics'][metric] for name in robustness.corruptions)
    course[MEAN] = statistics.fmean(course[severity] for severity in robustness.severities)
    return course


def _differences(
    comparison: Comparison,
    pairs: Sequence[tuple[str, str]],
    metric: str,
    courses: Courses,
    severities: Sequence[int | str],
    interval: str,
) -> list[Difference]:
    differences = []
    for variant, reference in pairs:
        ours, theirs = courses.get(variant, {}), courses.get(reference, {})
        seeds = tuple(seed for seed in comparison.seeds if seed in ours and seed in theirs)
        for severity in severities if seeds else ():
            values, others = ([group[seed][severity] for seed in seeds] for group in (ours, theirs))
            estimate = paired_difference(values, others, interval)
            differences.append(Difference(variant, reference, metric, severity, seeds, estimate))
    return differences


def _adjust(differences: Sequence[Difference]) -> list[Difference]:
    """Adjust the p values of all differences together: none of them is the primary comparison."""
    known = [d.difference.p_value for d in differences if d.difference.p_value is not None]
    adjusted = iter(holm_adjust(known))
    return [d if d.difference.p_value is None else replace(d, adjusted_p=next(adjusted)) for d in differences]


def _by_corruption(complete: Mapping[Run, Lines], comparison: Comparison) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, list[float]]] = {}
    for run, lines in complete.items():
        by_name = values.setdefault(run.setting.variant.name, {})
        for name, severity in comparison.robustness.evaluations:
            by_name.setdefault(name, []).append(lines[name, severity]['metrics'][comparison.metric])
    return {variant: {name: statistics.fmean(v) for name, v in names.items()} for variant, names in values.items()}


def relative_values(courses: Mapping[int, Course]) -> dict[int, float]:
    """Return the mean under corruption divided by the value without corruption, by seed.

    Args:
        courses (Mapping[int, Course]): The courses of a variant by seed.

    Returns:
        dict[int, float]: The ratios; NaN where the value without corruption is 0.

    Example:
        >>> relative_values({0: {0: 80.0, 'mean': 60.0}})
        {0: 0.75}
    """
    return {seed: c[MEAN] / c[0] if c[0] else float('nan') for seed, c in courses.items()}
