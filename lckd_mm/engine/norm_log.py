"""The CSV file of spectral norms that a training writes, and its plots."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from lckd_mm.atomic_files import open_atomically, replacing


class NormRow(TypedDict):
    """One row of the CSV file.

    Attributes:
        iter: The iteration, counted from 1.
        loss: Name of the loss that compares the norms.
        pair: Index of the pair of taps; ``'bound'`` for the product over all pairs.
        teacher: The teacher's spectral norm, averaged over the batch.
        student: The student's spectral norm, averaged over the batch.
        gap: ``student - teacher``.
    """

    iter: int
    loss: str
    pair: str
    teacher: float
    student: float
    gap: float


def write_norms(path: str | Path, rows: Iterable[NormRow]) -> None:
    """Write a new CSV file.

    Args:
        path (str | Path): The file. An existing file is overwritten.
        rows (Iterable[NormRow]): Its rows.
    """
    with open_atomically(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(NormRow.__annotations__))
        writer.writeheader()
        writer.writerows(rows)


def append_norms(path: str | Path, rows: Iterable[NormRow]) -> None:
    """Append rows to an existing CSV file.

    Args:
        path (str | Path): The file.
        rows (Iterable[NormRow]): The additional rows.
    """
    with Path(path).open('a', newline='') as file:
        csv.DictWriter(file, list(NormRow.__annotations__)).writerows(rows)


def read_norms(path: str | Path) -> list[NormRow]:
    """Read a CSV file. An incomplete last line is omitted; an interrupted training leaves one.

    Args:
        path (str | Path): The file.

    Returns:
        list[NormRow]: Its rows, in order.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> row = NormRow(iter=1, loss='loss_lipschitz', pair='0', teacher=3.0, student=1.5, gap=-1.5)
        >>> with TemporaryDirectory() as folder:
        ...     write_norms(f'{folder}/spectral_norms.csv', [row])
        ...     read_norms(f'{folder}/spectral_norms.csv') == [row]
        True
    """
    rows = []
    with Path(path).open(newline='') as file:
        # A part of a number is a number as well.
        for row in csv.DictReader(line for line in file if line.endswith('\n')):
            rows.append(
                NormRow(
                    iter=int(row['iter']),
                    loss=row['loss'],
                    pair=row['pair'],
                    teacher=float(row['teacher']),
                    student=float(row['student']),
                    gap=float(row['gap']),
                )
            )
    return rows


def plot_norms(axes: Sequence[Any], rows: Sequence[NormRow]) -> None:
    """Plot the teacher's and the student's norm over the iterations, one panel per pair and the bound last.

    Args:
        axes (Sequence[matplotlib.axes.Axes]): One axis for each value of ``pair``.
        rows (Sequence[NormRow]): The rows of one loss.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axis = Figure().subplots()
        >>> plot_norms([axis], [NormRow(iter=1, loss='loss_lipschitz', pair='0', teacher=3.0, student=1.5, gap=-1.5)])
        >>> axis.get_title()
        'taps 0 to 1'
    """
    for axis, pair in zip(axes, dict.fromkeys(row['pair'] for row in rows), strict=False):
        pair_rows = [row for row in rows if row['pair'] == pair]
        iterations = [row['iter'] for row in pair_rows]
        axis.plot(iterations, [row['teacher'] for row in pair_rows], color='black', linestyle='--', label='teacher')
        axis.plot(iterations, [row['student'] for row in pair_rows], color='tab:orange', label='student')
        axis.set_title('bound (product)' if pair == 'bound' else f'taps {int(pair)} to {int(pair) + 1}', fontsize=10)
        axis.set_xlabel('iteration')
        axis.grid(alpha=0.3)
        # The product spans decades.
        if pair == 'bound' and min(min(row['teacher'], row['student']) for row in pair_rows) > 0:
            axis.set_yscale('log')
    axes[0].set_ylabel('spectral norm')
    axes[0].legend(fontsize=8)


def draw_norms(rows: Sequence[NormRow], path: str | Path) -> None:
    """Write :func:`plot_norms` of the first loss to an image file. Without rows no file is written.

    Args:
        rows (Sequence[NormRow]): Rows of any number of losses.
        path (str | Path): The image file.
    """
    if not rows:
        return
    # A figure without pyplot leaves the backend of the process unchanged.
    from matplotlib.figure import Figure

    rows = [row for row in rows if row['loss'] == rows[0]['loss']]
    num_panels = len({row['pair'] for row in rows})
    figure = Figure(figsize=(3.2 * num_panels, 3), layout='constrained')
    plot_norms(list(figure.subplots(1, num_panels, squeeze=False)[0]), rows)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format=Path(path).suffix[1:])
