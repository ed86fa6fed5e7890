"""The plot of the metric under corruptions of increasing severity."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .comparison_robustness_report import MEAN, RobustnessReport
from .comparison_statistics import mean_interval
from .plotting import color_cycle, new_figure, save_figure

# Horizontal distance of two variants at one severity, so that their intervals do not cover each other.
_SHIFT = 0.08


def plot_robustness(report: RobustnessReport, path: Path) -> None:
    """Plot the metric over the severity, and the paired differences, with 95 % t intervals.

    Args:
        report (RobustnessReport): The report.
        path (Path): The image file.
    """
    names = list(report.courses)
    colors = dict(zip(names, color_cycle(len(names)) * 2))
    pairs = list(dict.fromkeys((d.variant, d.reference) for d in report.differences))
    num_panels = 2 if pairs else 1
    figure, axes = new_figure(1, num_panels, size=(6.2 * num_panels, 4.6))
    severities = [0, *report.severities]
    for index, name in enumerate(names):
        columns = [[course[severity] for course in report.courses[name].values()] for severity in severities]
        estimates = [_with_errors(*mean_interval(values)) for values in columns]
        _plot_line(axes[0], severities, estimates, _offset(index, len(names)), color=colors[name], label=name)
    metric = report.comparison.metric
    axes[0].set(title='Mean over the corruptions', ylabel=metric)
    if pairs:
        markers = 'osD^vP*X' * len(pairs)
        for index, pair in enumerate(pairs):
            differences = [
                d.difference for d in report.differences if (d.variant, d.reference) == pair and d.severity != MEAN
            ]
            estimates = [
                (e.mean, math.nan if e.low is None else e.mean - e.low, math.nan if e.high is None else e.high - e.mean)
                for e in differences
            ]
            style = dict(color=colors[pair[0]], label=f'{pair[0]} against {pair[1]}', fmt=markers[index] + '-')
            _plot_line(axes[1], report.severities, estimates, _offset(index, len(pairs)), **style)
        axes[1].axhline(0, color='black', linewidth=1)
        better = 'lower' if report.comparison.lower_is_better else 'higher'
        axes[1].set(title='Paired differences', ylabel=f'difference of {metric} ({better} is better)')
    for axis, ticks in zip(axes, (severities, report.severities)):
        axis.set(xlabel='severity (0: images as they are)' if 0 in ticks else 'severity', xticks=ticks)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle('point: mean over the seeds; bar: 95 % interval', fontsize=9)
    save_figure(figure, path)


def _offset(index: int, number: int) -> float:
    return _SHIFT * (index - (number - 1) / 2)


def _with_errors(mean: float, half: float | None) -> tuple[float, float, float]:
    # A single seed has no interval.
    length = math.nan if half is None else half
    return mean, length, length


def _plot_line(
    axis: Any, severities: Sequence[int], estimates: Sequence[tuple[float, float, float]], offset: float, **style: Any
) -> None:
    """Plot means with the lengths of their intervals below and above."""
    means, *lengths = zip(*estimates, strict=True)
    positions = [severity + offset for severity in severities]
    axis.errorbar(positions, means, yerr=lengths, **{'fmt': 'o-', 'markersize': 4, 'capsize': 3, **style})
