"""The tables and the plot of the benchmark of the spectral norm."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .benchmark import geometric_mean
from .benchmark_spectral_cases import FLOORS
from .plotting import new_figure, save_figure
from .tables import markdown_table

Row = dict[str, Any]


def report_lines(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return the report in Markdown.

    Args:
        rows (Sequence[Row]): Results of :func:`lckd_mm.analysis.benchmark_spectral.measure_shape`, each with its ``group``.
        columns (Sequence[str]): The implementations; ``'ours'`` is the first.

    Returns:
        list[str]: The lines.
    """
    others = columns[1:]
    return [
        *_time_table(rows, columns),
        '',
        'Milliseconds, forward and backward together (medians).',
        '',
        *_memory_table(rows, columns),
        '',
        'Memory: peak MiB without the two maps and their gradients. Errors: relative to the SVD in float64.',
        '',
        *(line for column in (*FLOORS, *others) for line in _time_ratios(rows, column)),
        *(_memory_ratio(rows, column) for column in others if all('memory' in row[c] for row in rows for c in columns)),
    ]


def _time_table(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    cells = []
    for row in rows:
        times = [f'{row[column]["total"] * 1e3:.2f}' for column in (*FLOORS, *columns)]
        ratios = [f'{row["ours"]["total"] / row[floor]["total"]:.2f}' for floor in FLOORS]
        cells.append([row['name'], *times, *ratios, row['plan']])
    return markdown_table(['shape', *FLOORS, *columns, *(f'ours / {floor}' for floor in FLOORS), 'plan'], cells)


def _memory_table(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    cells = []
    for row in rows:
        times = f'{row["ours"]["forward"] * 1e3:.2f} / {row["ours"]["backward"] * 1e3:.2f}'
        memory = [f'{row[c]["memory"] / 2**20:.1f}' if 'memory' in row[c] else '' for c in columns]
        errors = [f'{row[c]["error"]:.1e}' for c in columns]
        gradient_errors = [f'{row[c]["gradient_error"]:.1e}' for c in columns[:2]]
        cells.append([row['name'], times, *memory, *errors, *gradient_errors])
    header = ['shape', 'forward / backward, ours']
    header += (
        [f'memory, {c}' for c in columns]
        + [f'error, {c}' for c in columns]
        + [f'gradient error, {c}' for c in columns[:2]]
    )
    return markdown_table(header, cells)


def _time_ratios(rows: Sequence[Row], column: str) -> list[str]:
    lines = []
    for name, part in (('all shapes', rows), ('reference', [row for row in rows if row['group'] == 'reference'])):
        # The reference shapes are not always among those that are measured.
        if not part:
            continue
        ratios = [row['ours']['total'] / row[column]['total'] for row in part]
        mean = geometric_mean(ratios)
        lines.append(f'ours / {column}, {name}: geometric mean {mean:.3f}, {min(ratios):.3f} to {max(ratios):.3f}')
    return lines


def _memory_ratio(rows: Sequence[Row], column: str) -> str:
    ratios = [row['ours']['memory'] / max(row[column]['memory'], 1) for row in rows]
    return f'memory, ours / {column}: {min(ratios):.2f} to {max(ratios):.2f}'


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
        values = [row[column]['total'] * 1e3 for row in rows]
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
