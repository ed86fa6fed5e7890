"""The plot of a comparison."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .comparison import Comparison
from .comparison_results import Result
from .comparison_statistics import mean_interval
from .comparison_verdict import Results, Verdict, reported_value
from .plotting import color_cycle, new_figure, save_figure


def plot_comparison(comparison: Comparison, results: Results, verdicts: Sequence[Verdict], path: Path) -> None:
    """Plot the value of every seed, the differences by seed with their intervals, and the metric during the training.

    Args:
        comparison (Comparison): The comparison.
        results (Results): Its results.
        verdicts (Sequence[Verdict]): Its verdicts.
        path (Path): The image file.
    """
    drawn = {name: list(runs.values()) for name, runs in results.items() if runs}
    colors = dict(zip(drawn, color_cycle(len(drawn)) * 2))
    rows = max(len(drawn), len(verdicts))
    # Without a pair there is no difference to plot.
    num_panels = 3 if verdicts else 2
    figure, axes = new_figure(1, num_panels, size=(5.7 * num_panels, max(3.6, 0.4 * rows + 1.4)))
    left, right = axes[0], axes[-1]
    _plot_values(left, drawn, colors)
    left.set(title='Values', xlabel=f'{comparison.metric}, reported')
    if verdicts:
        _plot_differences(axes[1], results, verdicts, colors)
        better = 'lower' if comparison.lower_is_better else 'higher'
        axes[1].set(
            title='Paired differences',
            xlabel=f'difference of {comparison.metric} ({better} is better); * p < 0.05',
        )
    for name, runs in drawn.items():
        _plot_course(right, name, runs, colors[name])
    right.set(
        title='During the training', xlabel='epoch or iteration', ylabel=f'{comparison.metric}, mean over the seeds'
    )
    right.grid(alpha=0.3)
    # Beside the curves, which many entries would cover.
    right.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.suptitle('tick: mean; line: 95 % interval; point: seed', fontsize=9)
    save_figure(figure, path)


def _plot_values(axis: Any, drawn: dict[str, list[Result]], colors: dict[str, Any]) -> None:
    for row, (name, runs) in enumerate(drawn.items()):
        values = [reported_value(run) for run in runs]
        mean, half = mean_interval(values)
        _plot_row(axis, row, values, mean, None if half is None else (mean - half, mean + half), colors[name])
    _label_rows(axis, list(drawn))


def _plot_differences(axis: Any, results: Results, verdicts: Sequence[Verdict], colors: dict[str, Any]) -> None:
    for row, verdict in enumerate(verdicts):
        differences = [
            reported_value(results[verdict.variant][seed]) - reported_value(results[verdict.reference][seed])
            for seed in verdict.seeds
        ]
        estimate = verdict.difference
        interval = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
        _plot_row(axis, row, differences, estimate.mean, interval, colors[verdict.variant])
    axis.axvline(0, color='black', linewidth=1)
    _label_rows(axis, [f'{v.variant} against {v.reference}{" *" * (v.word != "cannot tell")}' for v in verdicts])


def _plot_row(
    axis: Any, row: int, values: Sequence[float], mean: float, interval: tuple[float, float] | None, color: Any
) -> None:
    if interval is not None:
        axis.plot(interval, [row, row], color=color, linewidth=2, solid_capstyle='butt')
    axis.plot(mean, row, '|', color=color, markersize=14, markeredgewidth=2.5)
    # Below the interval, which would hide them.
    axis.plot(values, [row + 0.25] * len(values), 'o', color=color, alpha=0.7, markersize=4.5, markeredgewidth=0)


def _label_rows(axis: Any, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.margins(x=0.08)
    axis.grid(axis='x', alpha=0.3)


def _plot_course(axis: Any, name: str, runs: Sequence[Result], color: Any) -> None:
    steps = runs[0]['select']['steps']
    # Seeds that were evaluated at other steps cannot be averaged.
    curves = [run['select']['values'] for run in runs if run['select']['steps'] == steps]
    means = [statistics.fmean(values) for values in zip(*curves, strict=True)]
    axis.plot(steps, means, color=color, marker='.', label=name)
