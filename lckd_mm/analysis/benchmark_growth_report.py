"""The table and the plot of the benchmark of growth, with the fitted exponents."""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .benchmark_growth import Row
from .benchmark_growth_cases import QUANTITIES
from .plotting import new_figure, save_figure
from .power_law import PowerLaw, fit_power_law
from .tables import markdown_table

# Symbol and value of each attribute of a case, for the description of those that do not vary.
_FIXED: dict[str, Callable[[Row], str]] = {
    'images': lambda row: f'B = {row["images"]}',
    'side': lambda row: f'N = {row["side"]}²',
    'taps': lambda row: f'{row["taps"] - 1} pair{"s" * (row["taps"] > 2)}',
    'channels': lambda row: f'C = {row["channels"]}',
}
_Measure = Callable[[Row], float]
# One row of panels each: its label, and its series with name, color and value.
_PANELS: list[tuple[str, list[tuple[str, str, _Measure]]]] = [
    (
        'milliseconds, forward + backward',
        [('time', 'tab:orange', lambda row: statistics.median(row['seconds']) * 1e3)],
    ),
    (
        'MiB in addition to the maps',
        [
            ('peak', 'tab:blue', lambda row: row['memory'] / 2**20),
            ('without gradients', 'tab:green', lambda row: (row['memory'] - row['gradients']) / 2**20),
        ],
    ),
]
_SERIES = [series for _, panel in _PANELS for series in panel]
_BARS: dict[str, Any] = dict(elinewidth=1, capsize=2)
_LINEAR: dict[str, Any] = dict(linestyle=':', color='gray', linewidth=1, zorder=1)


def fitted_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the larger half of the sizes of one quantity, in which the constant cost of the calls no longer dominates.

    Args:
        rows (Sequence[Row]): Results of :func:`lckd_mm.analysis.benchmark_growth.measure_growth` for one quantity.

    Returns:
        list[Row]: Those that the power law is fitted to.

    Example:
        >>> [row['size'] for row in fitted_rows([dict(size=4), dict(size=1), dict(size=3), dict(size=2), dict(size=5)])]
        [3, 4, 5]
    """
    return sorted(rows, key=lambda row: row['size'])[len(rows) // 2 :]


def fit_growth(rows: Sequence[Row], measure: Callable[[Row], float]) -> PowerLaw:
    """Fit a power law to the larger half of the sizes of one quantity.

    Args:
        rows (Sequence[Row]): As in :func:`fitted_rows`.
        measure (Callable): Returns the value of a row.

    Returns:
        PowerLaw: The law.
    """
    part = fitted_rows(rows)
    return fit_power_law([row['size'] for row in part], [measure(row) for row in part])


def report_lines(rows: Sequence[Row]) -> list[str]:
    """Return the report in Markdown.

    Args:
        rows (Sequence[Row]): Results of :func:`lckd_mm.analysis.benchmark_growth.measure_growth`.

    Returns:
        list[str]: The lines.
    """
    header = [
        'what varies',
        'what is fixed',
        'fitted sizes',
        *(f'exponent, {name}' for name in ('time', 'peak memory', 'without gradients')),
        *('ms at the largest size', 'MiB', 'MiB without gradients'),
    ]
    cells = []
    for key, (title, _) in QUANTITIES.items():
        part = _rows_of(rows, key)
        fitted = fitted_rows(part)
        exponents = [str(fit_growth(part, measure)) for *_, measure in _SERIES]
        largest = [f'{measure(fitted[-1]):.3g}' for *_, measure in _SERIES]
        sizes = ', '.join(str(row['size']) for row in fitted)
        cells.append([title, _describe_fixed(part, key), sizes, *exponents, *largest])
    num_rounds = len(rows[0]['seconds'])
    return [
        *markdown_table(header, cells),
        '',
        f'Medians of {num_rounds} rounds. Exponents with 95 % intervals: least squares on the logarithms, over the larger half of',
        'the sizes, where the constant cost of the calls no longer dominates.',
    ]


def _rows_of(rows: Sequence[Row], key: str) -> list[Row]:
    return sorted((row for row in rows if row['quantity'] == key), key=lambda row: row['size'])


def _describe_fixed(rows: Sequence[Row], key: str) -> str:
    return ', '.join(describe(rows[0]) for name, describe in _FIXED.items() if name != key)


def plot_growth(rows: Sequence[Row], path: Path, title: str) -> None:
    """Plot time and memory over each quantity, on logarithmic axes, with the fitted power laws.

    Args:
        rows (Sequence[Row]): As in :func:`report_lines`.
        path (Path): The image file.
        title (str): The title.
    """
    num_columns = len(QUANTITIES)
    figure, axes = new_figure(len(_PANELS), num_columns, size=(13, 6.8), sharex='col', sharey='row')
    for row_index, (label, panel) in enumerate(_PANELS):
        row_axes = axes[row_index * num_columns :][:num_columns]
        for axis, key in zip(row_axes, QUANTITIES, strict=True):
            for series in panel:
                _plot_series(axis, _rows_of(rows, key), *series, has_name=len(panel) > 1)
            axis.set(xscale='log', yscale='log')
            axis.grid(alpha=0.25)
            legend = dict(title='fitted exponent', title_fontsize=8, alignment='left', frameon=False)
            axis.legend(fontsize=8, loc='upper left', **legend)
        values = [measure(row) for *_, measure in panel for row in rows]
        # Room for the legends above the curves.
        row_axes[0].set(ylabel=label, ylim=(min(values) / 2, max(values) * (max(values) / min(values)) ** 0.35))
    for top, bottom, (key, (name, _)) in zip(axes, axes[-num_columns:], QUANTITIES.items()):
        top.set_title(_describe_fixed(_rows_of(rows, key), key), fontsize=9)
        bottom.set_xlabel(name)
        _set_ticks(bottom, [row['size'] for row in _rows_of(rows, key)])
    figure.suptitle(title, fontsize=10)
    figure.legend(handles=_legend_handles(len(rows[0]['seconds'])), loc='outside lower center', ncols=4, fontsize=8)
    save_figure(figure, path)


def _plot_series(axis: Any, rows: Sequence[Row], name: str, color: str, measure: _Measure, has_name: bool) -> None:
    sizes, values = [row['size'] for row in rows], [measure(row) for row in rows]
    law, fitted = fit_growth(rows, measure), [row['size'] for row in fitted_rows(rows)]
    if name == 'time':
        quartiles = np.quantile([row['seconds'] for row in rows], [0.25, 0.75], axis=1) * 1e3
        axis.errorbar(sizes, values, yerr=np.abs(quartiles - values), fmt='none', color=color, **_BARS)
    faces = [color if size in fitted else 'white' for size in sizes]
    axis.scatter(sizes, values, s=22, c=faces, edgecolors=color, linewidths=1, zorder=3)
    ends = [fitted[0], fitted[-1]]
    axis.plot(ends, [law(end) for end in ends], color=color, label=f'{name}: {law}' if has_name else str(law))
    middle = math.sqrt(ends[0] * ends[1])
    all_ends = [sizes[0], sizes[-1]]
    axis.plot(all_ends, [law(middle) * end / middle for end in all_ends], **_LINEAR)


def _legend_handles(num_rounds: int) -> list[Any]:
    """Return the explanation of the markers and lines that all panels share."""
    from matplotlib.lines import Line2D

    point: dict[str, Any] = dict(color='black', linestyle='none', marker='o', markersize=5)
    bar: dict[str, Any] = dict(color='black', linestyle='none', marker='|', markersize=9)
    return [
        Line2D([], [], label='fitted sizes: the larger half', **point),
        Line2D([], [], label='smaller sizes', markerfacecolor='white', **point),
        Line2D([], [], label=f'quartiles of {num_rounds} rounds', **bar),
        Line2D([], [], label='linear, through the middle of the fit', **_LINEAR),
    ]


def _set_ticks(axis: Any, sizes: Sequence[int]) -> None:
    """Label the sizes; where they are many, only some that are a factor of about two apart."""
    ticks = [sizes[-1]]
    for size in reversed(sizes):
        if ticks[-1] / size >= (1.9 if len(sizes) > 8 else 1.1):
            ticks.append(size)
    axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
    axis.minorticks_off()
