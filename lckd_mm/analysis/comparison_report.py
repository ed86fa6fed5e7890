"""The table and the plot of a comparison."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .comparison import Comparison, Variant
from .comparison_runs import Result, is_result_of, read_results
from .plotting import color_cycle, new_figure, save_figure
from .tables import markdown_table, print_table

Results = Mapping[Variant, Sequence[Result]]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and, for two or more values, the sample standard deviation.

    Args:
        values (Sequence[float]): One or more values.

    Returns:
        tuple[float, float | None]: Mean and standard deviation.

    Example:
        >>> mean_and_deviation([1.0, 3.0])
        (2.0, 1.4142135623730951)
        >>> mean_and_deviation([1.0])
        (1.0, None)
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def format_values(values: Sequence[float], sign: str = '') -> str:
    """Format mean and standard deviation, with two digits for percentages and four for shares.

    Args:
        values (Sequence[float]): The values; may be empty.
        sign (str): ``'+'`` shows the sign of positive values. Defaults to ''.

    Returns:
        str: The text for a table.

    Example:
        >>> format_values([60.0, 62.0]), format_values([0.5], '+'), format_values([])
        ('61.00 ± 1.41', '+0.5000', '-')
    """
    if not values:
        return '-'
    mean, deviation = mean_and_deviation(values)
    digits = 2 if abs(mean) > 1.5 or max(map(abs, values)) > 1.5 else 4
    return f'{mean:{sign}.{digits}f}' + ('' if deviation is None else f' ± {deviation:.{digits}f}')


def select_results(comparison: Comparison, out: Path) -> dict[Variant, list[Result]]:
    """Read the results of a comparison.

    Args:
        comparison (Comparison): The comparison.
        out (Path): Folder of ``results.jsonl``.

    Returns:
        dict[Variant, list[Result]]: The results of the comparison's metric and seeds by variant.
    """
    results = [
        r
        for r in read_results(out / 'results.jsonl')
        if r['metric'] == comparison.metric and r['seed'] in comparison.seeds
    ]
    return {variant: [r for r in results if is_result_of(r, variant)] for variant in comparison.variants}


def table_rows(comparison: Comparison, results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table.

    Args:
        comparison (Comparison): The comparison.
        results (Results): Its results.

    Returns:
        tuple[list[str], list[list[str]]]: Header and rows.
    """
    baseline = comparison.variants[0]
    baseline_values = {r['seed']: r['last'] for r in results[baseline]}
    rows = []
    for variant in comparison.variants:
        seeds = results[variant]
        differences = [r['last'] - baseline_values[r['seed']] for r in seeds if r['seed'] in baseline_values]
        row = [
            variant.name,
            str(len(seeds)),
            format_values([r['last'] for r in seeds]),
            format_values([r['best'] for r in seeds]),
        ]
        row.append('' if variant is baseline else format_values(differences, '+'))
        row.append(f'{statistics.fmean(r["seconds_per_iteration"] for r in seeds):.3f}' if seeds else '-')
        rows.append(row)
    return ['variant', 'seeds', f'{comparison.metric}, last', 'best', f'last - {baseline.name}', 's / iteration'], rows


def report_comparison(comparison: Comparison, out: Path) -> None:
    """Print the table; write it to ``table.md`` and the plot to ``comparison.png``.

    Args:
        comparison (Comparison): The comparison.
        out (Path): Folder of ``results.jsonl``, of the table and of the plot.
    """
    results = select_results(comparison, out)
    header, rows = table_rows(comparison, results)
    print_table('mean ± standard deviation over the seeds; differences per seed', header, rows)
    (out / 'table.md').write_text('\n'.join(markdown_table(header, rows)) + '\n')
    if any(results.values()):
        plot_comparison(comparison, results, out / 'comparison.png')
        print(f'{out / "table.md"}, {out / "comparison.png"}')


def plot_comparison(comparison: Comparison, results: Results, path: Path) -> None:
    """Plot the result of every seed with mean and standard deviation, and the mean metric during the training.

    Args:
        comparison (Comparison): The comparison.
        results (Results): Its results.
        path (Path): The image file.
    """
    drawn = {variant: seeds for variant, seeds in results.items() if seeds}
    colors = color_cycle(len(drawn))
    figure, (left, right) = new_figure(1, 2, size=(12, max(3.2, 0.42 * len(drawn) + 1.2)))
    for row, (variant, seeds) in enumerate(drawn.items()):
        color = colors[row % len(colors)]
        _plot_seeds(left, row, [r['last'] for r in seeds], color)
        _plot_course(right, variant.name, seeds, color)
    left.axvline(statistics.fmean(r['last'] for r in next(iter(drawn.values()))), color='grey', linestyle=':')
    left.set_yticks(range(len(drawn)), [variant.name for variant in drawn])
    left.invert_yaxis()
    left.set(xlabel=f'{comparison.metric}, last: every seed, mean, standard deviation')
    left.grid(axis='x', alpha=0.3)
    right.set(xlabel='epoch or iteration', ylabel=f'{comparison.metric}, mean over the seeds')
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    save_figure(figure, path)


def _plot_seeds(axis: Any, row: int, values: Sequence[float], color: Any) -> None:
    mean, deviation = mean_and_deviation(values)
    axis.errorbar(mean, row, xerr=deviation, fmt='|', color=color, markersize=16, capsize=4, linewidth=2)
    axis.plot(values, [row] * len(values), 'o', color=color, alpha=0.6, markersize=5)


def _plot_course(axis: Any, name: str, seeds: Sequence[Result], color: Any) -> None:
    steps = seeds[0]['steps']
    # Seeds that were evaluated at other steps cannot be averaged.
    curves = [r['values'] for r in seeds if r['steps'] == steps]
    means = [statistics.fmean(values) for values in zip(*curves, strict=True)]
    axis.plot(steps, means, color=color, marker='.', label=name)
