"""Creation and saving of figures, without a display and without a change to matplotlib's global state."""

from pathlib import Path
from typing import Any

from lckd_mm.atomic_files import replacing


def new_figure(num_rows: int = 1, num_columns: int = 1, size: tuple[float, float] = (6.4, 4.8), **options: Any) -> Any:
    """Return a figure and its axes.

    A figure without pyplot draws with the Agg backend, needs no display, and is freed with its last reference.

    Args:
        num_rows (int): Rows of panels. Defaults to 1.
        num_columns (int): Columns of panels. Defaults to 1.
        size (tuple[float, float]): Width and height in inches. Defaults to (6.4, 4.8).
        **options: Further options of ``Figure.subplots``, ``sharey=True`` for example.

    Returns:
        tuple[Figure, list[Axes]]: The figure and its panels, row by row.

    Example:
        >>> figure, axes = new_figure(1, 2, size=(8, 3))
        >>> len(axes)
        2
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout='constrained')
    return figure, list(figure.subplots(num_rows, num_columns, squeeze=False, **options).flat)


def save_figure(figure: Any, path: str | Path, dpi: int = 120) -> None:
    """Write a figure to an image file, and create the folder of the file if necessary.

    Args:
        figure (Figure): The figure.
        path (str | Path): The image file.
        dpi (int): Pixels per inch. Defaults to 120.
    """
    # matplotlib's default.
    path = Path(path) if Path(path).suffix else Path(f'{path}.png')
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format=path.suffix[1:])


def color_cycle(num_colors: int) -> tuple[Any, ...]:
    """Return matplotlib's categorical colors: 10 of them, or 20 if more than 10 are needed.

    Args:
        num_colors (int): Number of colors that are needed.

    Returns:
        tuple: RGB values.

    Example:
        >>> len(color_cycle(3)), len(color_cycle(11))
        (10, 20)
    """
    import matplotlib

    colormap: Any = matplotlib.colormaps['tab10' if num_colors <= 10 else 'tab20']
    return tuple(colormap.colors)
