"""How early the variants of a comparison reach a value of the metric during the training."""

import statistics
from collections.abc import Sequence

from .comparison_results import Result
from .comparison_verdict import Results


def steps_to_reach(
    steps: Sequence[int], values: Sequence[float], target: float, lower_is_better: bool = False
) -> float | None:
    """Return the step at which a course first reaches a value, by linear interpolation between two evaluations.

    Args:
        steps (Sequence[int]): Steps of the evaluations: epochs, or iterations in an iteration-based training.
        values (Sequence[float]): The metric at these steps.
        target (float): The value.
        lower_is_better (bool): Whether smaller values are better. Defaults to False.

    Returns:
        float, optional: The step; the first step if its value is at least as good, since nothing is known of the time before; None if no
        evaluation reaches the value.

    Example:
        >>> steps_to_reach([10, 20, 30], [50.0, 60.0, 58.0], target=55.0)
        15.0
        >>> steps_to_reach([10, 20], [0.4, 0.3], target=0.2, lower_is_better=True) is None
        True
    """
    sign = -1 if lower_is_better else 1
    for index, value in enumerate(values):
        if sign * value >= sign * target:
            # NaN, of an evaluation that failed, is not interpolated.
            if index == 0 or values[index - 1] != values[index - 1]:
                return float(steps[index])
            share = (target - values[index - 1]) / (value - values[index - 1])
            return steps[index - 1] + share * (steps[index] - steps[index - 1])
    return None


def mean_course(runs: Sequence[Result]) -> tuple[list[int], list[float]]:
    """Return the mean of the selection metric over the runs of a variant.

    Runs that were evaluated at other steps than the first one are omitted.

    Args:
        runs (Sequence[Result]): One or more results.

    Returns:
        tuple[list[int], list[float]]: Steps and values.
    """
    steps = runs[0]['select']['steps']
    courses = [run['select']['values'] for run in runs if run['select']['steps'] == steps]
    return list(steps), [statistics.fmean(values) for values in zip(*courses, strict=True)]


def steps_to_baseline(results: Results, baseline: str, lower_is_better: bool = False) -> dict[str, float | None]:
    """Return when the mean course of each variant reaches the final mean of the baseline on the selection images.

    All variants, the baseline included, are averaged over the seeds that all of them have, so that the same runs are compared. A mean
    over the steps of single seeds would omit those that never reach the value.

    Args:
        results (Results): The results by variant and seed.
        baseline (str): Name of the baseline.
        lower_is_better (bool): Whether a smaller metric is better. Defaults to False.

    Returns:
        dict[str, float | None]: Steps by variant; None if its mean course does not reach the value. Empty without a common seed.
    """
    finished = {name: runs for name, runs in results.items() if runs}
    common = set.intersection(*(set(runs) for runs in finished.values())) if baseline in finished else set()
    if not common:
        return {}
    courses = {name: mean_course([runs[seed] for seed in sorted(common)]) for name, runs in finished.items()}
    target = courses[baseline][1][-1]
    return {name: steps_to_reach(*course, target, lower_is_better) for name, course in courses.items()}
