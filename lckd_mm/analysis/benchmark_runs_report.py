"""The report of the benchmark of whole trainings."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .benchmark_rounds import describe_ratio, estimate_ratio
from .benchmark_runs import BARE, BASELINE, LCKD, MMRAZOR, RunTime
from .tables import markdown_table

Runs = Mapping[str, Sequence[RunTime]]
# The ratios of images per second that are reported.
RATIOS = ((LCKD, BASELINE), (MMRAZOR, BASELINE), (LCKD, MMRAZOR), (BARE, MMRAZOR), (LCKD, BARE))


def read_runs(record: Mapping[str, Any]) -> dict[str, list[RunTime]]:
    """Return the times of a record.

    Args:
        record (Mapping[str, Any]): The content of ``benchmark.json``.

    Returns:
        dict[str, list[RunTime]]: The times of each round by name.
    """
    return {name: [RunTime(**run) for run in runs] for name, runs in record['runs'].items()}


def report_lines(runs: Runs) -> list[str]:
    r"""Return the tables in Markdown: medians over the rounds, and ratios of images per second with 95 % intervals.

    Args:
        runs (Mapping[str, Sequence[RunTime]]): The times of each round by name.

    Returns:
        list[str]: The lines.

    Example:
        >>> runs = {'student alone': [RunTime(20.0, 5.0, 1.0, 9.0, 4.0, 100)], 'LCKD': [RunTime(25.0, 5.0, 1.0, 14.0, 4.0, 100)]}
        >>> print(*report_lines(runs), sep="\n")
        100 training images in each run, 1 round
        <BLANKLINE>
        | training | images / s | images / s, whole run | whole run, s | start-up | data loading | iterations | evaluation, checkpoints |
        |---|---|---|---|---|---|---|---|
        | student alone | 10.0 | 5.0 | 20.0 | 5.0 | 1.0 | 9.0 | 4.0 |
        | LCKD | 6.7 | 4.0 | 25.0 | 5.0 | 1.0 | 14.0 | 4.0 |
        <BLANKLINE>
        | images per second of | training | whole run |
        |---|---|---|
        | LCKD / student alone | 0.667 | 0.800 |
    """
    first = next(iter(runs.values()))
    rounds = f'{len(first)} round' + ('s' if len(first) > 1 else '')
    header = [
        'training',
        'images / s',
        'images / s, whole run',
        'whole run, s',
        'start-up',
        'data loading',
        'iterations',
    ]
    rows = [[name, *(f'{value:.1f}' for value in _medians(times))] for name, times in runs.items()]
    training = {name: [run.training / run.num_images for run in times] for name, times in runs.items()}
    total = {name: [run.total / run.num_images for run in times] for name, times in runs.items()}
    ratios = [
        # Images per second are the inverse of the time.
        [
            f'{name} / {reference}',
            *(describe_ratio(estimate_ratio(part, (reference, name))) for part in (training, total)),
        ]
        for name, reference in RATIOS
        if {name, reference} <= runs.keys()
    ]
    return [
        f'{first[0].num_images} training images in each run, {rounds}',
        '',
        *markdown_table([*header, 'evaluation, checkpoints'], rows),
        '',
        *markdown_table(['images per second of', 'training', 'whole run'], ratios),
    ]


def _medians(times: Sequence[RunTime]) -> list[float]:
    columns = zip(
        *(
            (
                run.num_images / run.training,
                run.num_images / run.total,
                run.total,
                run.start_up,
                run.data_loading,
                run.iterations,
                run.evaluation,
            )
            for run in times
        ),
        strict=True,
    )
    return [statistics.median(column) for column in columns]
