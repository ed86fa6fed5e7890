"""The report of the benchmark of training steps: tables and a plot."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from .benchmark_contenders import PAIRS, RATIOS
from .benchmark_rounds import Times, describe_ratio, estimate_ratio
from .benchmark_step import Measurement
from .plotting import new_figure, save_figure
from .tables import markdown_table

_REFERENCES = ('student alone', 'MMRazor, same losses')


def report_lines(pair: str, measurement: Measurement) -> list[str]:
    """Return the report of one pair in Markdown.

    Args:
        pair (str): A key of ``PAIRS``.
        measurement (Measurement): Its result.

    Returns:
        list[str]: The lines.
    """
    seconds = measurement.seconds
    header = ['step', 'median ms', *(f'/ {name}' for name in _REFERENCES), 'MiB', 'operations', 'synchronizations']
    rows = [
        [
            name,
            _milliseconds(statistics.median(times)),
            *('1' if name == reference else _ratio(seconds, name, reference) for reference in _REFERENCES),
            f'{measurement.memory[name] / 2**20:.0f}',
            str(measurement.operations[name]),
            str(measurement.synchronizations[name]),
        ]
        for name, times in seconds.items()
    ]
    num_rounds = len(next(iter(seconds.values())))
    lines = [f'{PAIRS[pair]}, {num_rounds} rounds', '', *markdown_table(header, rows)]
    parts = [
        [title, f'{name} / {reference}', _ratio(seconds, name, reference)]
        for (name, reference), title in RATIOS.items()
        if {name, reference} <= seconds.keys()
    ]
    return [*lines, '', *markdown_table(['what it costs', 'steps', 'ratio'], parts)] if parts else lines


def _ratio(seconds: Times, name: str, reference: str) -> str:
    return describe_ratio(estimate_ratio(seconds, (name, reference)))


def _milliseconds(seconds: float) -> str:
    return f'{seconds * 1e3:.0f}' if seconds >= 0.1 else f'{seconds * 1e3:.1f}'


def plot_steps(results: Mapping[str, Measurement], path: Path, title: str) -> None:
    """Plot the median step of each model.

    Args:
        results (Mapping[str, Measurement]): Results by pair.
        path (Path): The image file.
        title (str): The title.
    """
    figure, axes = new_figure(1, len(results), size=(6 * len(results), 3.2))
    for axis, (pair, measurement) in zip(axes, results.items(), strict=True):
        names = list(measurement.seconds)
        medians = [statistics.median(measurement.seconds[name]) for name in names]
        bars = axis.barh(names, [1e3 * seconds for seconds in medians], color=_bar_colors(names))
        axis.bar_label(bars, [_milliseconds(seconds) for seconds in medians], padding=3, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set(title=PAIRS[pair], xlabel='milliseconds per training step (median)')
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


def _bar_colors(names: Sequence[str]) -> list[str]:
    return ['lightgray', *('tab:blue' if name.startswith('MMRazor') else 'tab:orange' for name in names[1:])]
