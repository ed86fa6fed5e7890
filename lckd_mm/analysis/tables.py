"""Tables in the terminal and in Markdown."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def print_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    justify: Sequence[str] | None = None,
) -> None:
    """Print a table to standard output.

    Args:
        title (str): The title.
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells.
        width (int, optional): Width in characters. Defaults to None, the width of the terminal.
        justify (Sequence[str], optional): ``'left'`` or ``'right'`` for each column. Defaults to None: the first column is
            left-justified, the others are right-justified.
    """
    table = Table(title=title)
    sides = justify or ['left', *['right'] * (len(header) - 1)]
    for name, side in zip(header, sides, strict=True):
        table.add_column(name, justify='left' if side == 'left' else 'right', no_wrap=width is not None)
    for row in rows:
        table.add_row(*row)
    Console(width=width).print(table)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    r"""Return the lines of a Markdown table.

    Args:
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells.

    Returns:
        list[str]: The lines.

    Example:
        >>> print(*markdown_table(['variant', 'mIoU'], [['baseline', '31.8']]), sep='\n')
        | variant | mIoU |
        |---|---|
        | baseline | 31.8 |
    """
    return [_line(header), '|---' * len(header) + '|', *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
