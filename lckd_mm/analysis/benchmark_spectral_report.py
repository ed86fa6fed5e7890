"""The tables and the plot of the benchmark of the spectral norm."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .benchmark import geometric_mean
from .benchmark_rounds import describe_ratio, estimate_ratio
from .benchmark_spectral_cases import FLOORS
from .comparison_statistics import PairedEstimate
from .plotting import new_figure, save_figure
from .tables import markdown_table

Row = dict[str, Any]

# The column that all others are compared with.
_REFERENCE = 'lckd_mm'


def report_lines(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return the report in Markdown.

    Args:
        rows (Sequence[Row]): Results of :func:`lckd_mm.analysis.benchmark_spectral.measure_shape`, each with its ``group``.
        columns (Sequence[str]): The implementations; ``'lckd_mm'`` is the first.

    Returns:
        list[str]: The lines.
    """
    others = columns[1:]
    has_memory = all('memory' in row[column] for row in rows for column in columns)
    return [
        *_time_table(rows, columns),
        '',
        'Milliseconds, forward and backward together (medians). Ratios: geometric means over the rounds, with 95 % intervals.',
        '',
        *_memory_table(rows, columns, has_memory),
        '',
        *(['Memory: peak MiB in addition to the two maps and their gradients.'] if has_memory else []),
        'Errors are relative to the SVD in float64.',
        '',
        *(line for column in (*FLOORS, *others) for line in _time_ratios(rows, column)),
        *(_memory_ratio(rows, column) for column in others if has_memory),
    ]


def median_total(row: Row, column: str) -> float:
    """Return the median of the seconds of forward and backward pass together.

    Args:
        row (Row): As in :func:`report_lines`.
        column (str): An implementation or a floor.

    Returns:
        float: Seconds.

    Example:
        >>> median_total(dict(floor=dict(forward=[1.0, 2.0, 3.0], backward=[1.0, 1.0, 1.0])), 'floor')
        3.0
    """
    return statistics.median(_totals(row, column))


def _totals(row: Row, column: str) -> list[float]:
    return [forward + backward for forward, backward in zip(row[column]['forward'], row[column]['backward'])]


def _ratio(rows: Sequence[Row], column: str) -> PairedEstimate | None:
    """Return the ratio of lckd_mm to a column: in each round the geometric mean over the shapes, then that over the rounds.

    A slow column has fewer rounds than lckd_mm, the first ones.
    """
    pair = (_REFERENCE, column)
    num_rounds = min(len(row[name]['forward']) for row in rows for name in pair)
    totals = {name: [_totals(row, name) for row in rows] for name in pair}
    times = {
        name: [geometric_mean([shape[index] for shape in shapes]) for index in range(num_rounds)]
        for name, shapes in totals.items()
    }
    return estimate_ratio(times, pair)


def _time_table(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    cells = []
    for row in rows:
        times = [f'{median_total(row, column) * 1e3:.2f}' for column in (*FLOORS, *columns)]
        ratios = [describe_ratio(_ratio([row], floor)) for floor in FLOORS]
        cells.append([row['name'], *times, *ratios, row['plan']])
    return markdown_table(['shape', *FLOORS, *columns, *(f'{_REFERENCE} / {floor}' for floor in FLOORS), 'plan'], cells)


def _memory_table(rows: Sequence[Row], columns: Sequence[str], has_memory: bool) -> list[str]:
    header = [
        'shape',
        f'forward / backward, {_REFERENCE}',
        *(f'memory, {column}' for column in columns if has_memory),
        *(f'error, {column}' for column in columns),
        *(f'gradient error, {column}' for column in columns[:2]),
    ]
    cells = []
    for row in rows:
        medians = [statistics.median(row[_REFERENCE][part]) * 1e3 for part in ('forward', 'backward')]
        memory = [f'{row[column]["memory"] / 2**20:.1f}' for column in columns if has_memory]
        errors = [f'{row[column]["error"]:.1e}' for column in columns]
        gradient_errors = [f'{row[column]["gradient_error"]:.1e}' for column in columns[:2]]
        cells.append([row['name'], ' / '.join(f'{ms:.2f}' for ms in medians), *memory, *errors, *gradient_errors])
    return markdown_table(header, cells)


def _time_ratios(rows: Sequence[Row], column: str) -> list[str]:
    lines = []
    for name, part in (('all shapes', rows), ('reference', [row for row in rows if row['group'] == 'reference'])):
        # The reference shapes are not always among those that are measured.
        if not part:
            continue
        by_shape = [ratio.mean for ratio in (_ratio([row], column) for row in part) if ratio is not None]
        mean = describe_ratio(_ratio(part, column))
        lines.append(
            f'- {_REFERENCE} / {column}, {name}: {mean} in the geometric mean, {min(by_shape):.3f} to {max(by_shape):.3f} by shape'
        )
    return lines


def _memory_ratio(rows: Sequence[Row], column: str) -> str:
    ratios = [row[_REFERENCE]['memory'] / max(row[column]['memory'], 1) for row in rows]
    return f'- memory, {_REFERENCE} / {column}: {min(ratios):.2g} to {max(ratios):.2g} by shape'


def plot_times(rows: Sequence[Row], columns: Sequence[str], path: Path, title: str) -> None:
    """Plot the times of all implementations.

    Args:
        rows (Sequence[Row]): As in :func:`report_lines`.
        columns (Sequence[str]): As in :func:`report_lines`.
        path (Path): The image file.
        title (str): The title.
    """
    bars = ['floor', *columns]
    colors = dict(zip(bars, ('lightgray', 'tab:orange', 'tab:blue', 'tab:green', 'tab:purple'), strict=False))
    figure, (axis,) = new_figure(size=(11, 0.75 * len(rows) + 1.6))
    height = 0.8 / len(bars)
    for index, column in enumerate(bars):
        positions = [row_index + (index - (len(bars) - 1) / 2) * height for row_index in range(len(rows))]
        values = [median_total(row, column) * 1e3 for row in rows]
        container = axis.barh(positions, values, height, label=column, color=colors[column])
        labels = [f'{value:.0f}' if value >= 100 else f'{value:.3g}' for value in values]
        axis.bar_label(container, labels, padding=2, fontsize=7)
    axis.set(xscale='log', xlabel='milliseconds, forward and backward', title=title)
    axis.set_yticks(range(len(rows)), [row['name'] for row in rows])
    axis.invert_yaxis()
    axis.margins(x=0.12, y=0.01)
    axis.grid(axis='x', alpha=0.3)
    figure.legend(loc='outside lower center', ncols=len(bars), fontsize=8)
    save_figure(figure, path)
