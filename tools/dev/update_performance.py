"""Write the tables of docs/performance.md, and its plots, from the JSON files of the benchmarks in docs/results.

    python tools/dev/update_performance.py

The file of the benchmark NAME is the benchmark.json of `python tools/analysis_tools/NAME.py --out work_dirs/NAME`: copy it to
docs/results/NAME.json. A section whose file does not exist stays as it is.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lckd_mm.analysis import (
    benchmark_growth_report,
    benchmark_plans,
    benchmark_runs_report,
    benchmark_scaling_report,
    benchmark_spectral_report,
    benchmark_step_report,
)
from lckd_mm.analysis.benchmark import describe_origin
from lckd_mm.analysis.benchmark_scaling import Scaling
from lckd_mm.analysis.benchmark_step import Measurement
from lckd_mm.errors import ConfigValueError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/performance.md'
RESULTS = ROOT / 'docs/results'
Record = dict[str, Any]


def describe_steps(record: Record) -> list[str]:
    """Return the tables of the training steps.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    lines = [describe_origin(record)]
    for pair, measurement in record['pairs'].items():
        lines += ['', *benchmark_step_report.report_lines(pair, Measurement(**measurement))]
    return lines


def describe_spectral(record: Record) -> list[str]:
    """Return the tables and the summary of the spectral norm.

    Args:
        record (dict): The content of its JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    return [describe_origin(record), '', *benchmark_spectral_report.report_lines(record['rows'], record['columns'])]


def describe_plans(record: Record) -> list[str]:
    """Return the table of the plans.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    return [describe_origin(record), '', *benchmark_plans.report_lines(record['rows'])]


def describe_growth(record: Record) -> list[str]:
    """Return the table of the exponents, and their plot.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    lines = benchmark_growth_report.report_lines(record['rows'])
    return [describe_origin(record), '', *lines, '', '![Time and memory by size](benchmark_growth.png)']


def describe_runs(record: Record) -> list[str]:
    """Return the tables of the whole trainings.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    return [describe_origin(record), '', *benchmark_runs_report.report_lines(benchmark_runs_report.read_runs(record))]


def describe_scaling(record: Record) -> list[str]:
    """Return the table of the training steps in several processes.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    return [describe_origin(record), '', *benchmark_scaling_report.report_lines(Scaling(**record['scaling']))]


def plot_steps(record: Record, path: Path) -> None:
    """Draw the times of the training steps.

    Args:
        record (dict): The content of their JSON file.
        path (Path): The image file.
    """
    results = {pair: Measurement(**measurement) for pair, measurement in record['pairs'].items()}
    benchmark_step_report.plot_steps(results, path, record['title'])


def plot_spectral(record: Record, path: Path) -> None:
    """Draw the times of the spectral norm.

    Args:
        record (dict): The content of its JSON file.
        path (Path): The image file.
    """
    benchmark_spectral_report.plot_times(record['rows'], record['columns'], path, record['title'])


def plot_growth(record: Record, path: Path) -> None:
    """Draw time and memory by size.

    Args:
        record (dict): The content of their JSON file.
        path (Path): The image file.
    """
    benchmark_growth_report.plot_growth(record['rows'], path, record['title'])


SECTIONS: dict[str, Callable[[Record], list[str]]] = {
    'benchmark_spectral': describe_spectral,
    'benchmark_plans': describe_plans,
    'benchmark_growth': describe_growth,
    'benchmark_step': describe_steps,
    'benchmark_step_faster_rcnn': describe_steps,
    'benchmark_step_gpu': describe_steps,
    'benchmark_runs': describe_runs,
    'benchmark_scaling': describe_scaling,
}
PLOTS: dict[str, Callable[[Record, Path], None]] = {
    'benchmark_spectral': plot_spectral,
    'benchmark_growth': plot_growth,
    'benchmark_step': plot_steps,
    'benchmark_step_faster_rcnn': plot_steps,
}


def read_records(results: Path = RESULTS) -> dict[str, Record]:
    """Return the records of the benchmarks whose files exist.

    Args:
        results (Path): The folder of the files. Defaults to docs/results.

    Returns:
        dict[str, dict]: The records by name.
    """
    files = {name: results / f'{name}.json' for name in SECTIONS}
    return {name: json.loads(file.read_text(encoding='utf-8')) for name, file in files.items() if file.exists()}


def replace_section(page: str, name: str, lines: list[str]) -> str:
    r"""Replace what is between the two comments of a section.

    Args:
        page (str): The page.
        name (str): Name of the section.
        lines (list[str]): Its new lines.

    Returns:
        str: The new page.

    Raises:
        ConfigValueError: The page has no such section.

    Example:
        >>> replace_section('a\n<!-- begin x -->\nold\n<!-- end x -->\nb', 'x', ['new'])
        'a\n<!-- begin x -->\nnew\n<!-- end x -->\nb'
    """
    begin, end = f'<!-- begin {name} -->\n', f'<!-- end {name} -->'
    before, has_begin, rest = page.partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise ConfigValueError(f'the page has no section {name!r}: add the lines {begin.strip()!r} and {end!r}.')
    return before + begin + ''.join(f'{line}\n' for line in lines) + end + after


def update(page: str, results: Path = RESULTS) -> str:
    """Return the page with the tables of the files that exist.

    Args:
        page (str): The page.
        results (Path): The folder of the files. Defaults to docs/results.

    Returns:
        str: The new page.
    """
    for name, record in read_records(results).items():
        page = replace_section(page, name, SECTIONS[name](record))
    return page


def main() -> None:
    """Write the page and its plots."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PAGE.write_text(update(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
    for name, record in read_records().items():
        if name in PLOTS:
            PLOTS[name](record, PAGE.parent / f'{name}.png')


if __name__ == '__main__':
    main()
