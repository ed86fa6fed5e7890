"""Write the tables of docs/performance.md from the JSON files of the benchmarks in docs/results.

python tools/dev/update_performance.py

The file of the training steps is that of
`python tools/analysis_tools/benchmark_step.py --out work_dirs/benchmark_step`: copy its benchmark.json to docs/results/benchmark_step.json.
Those of benchmark_runs.py and benchmark_scaling.py become docs/results/benchmark_runs.json and docs/results/benchmark_scaling.json.
"""

import json
from pathlib import Path
from typing import Any

from lckd_mm.analysis import benchmark_runs_report, benchmark_scaling_report
from lckd_mm.analysis.benchmark_scaling import Scaling
from lckd_mm.analysis.benchmark_step import Measurement
from lckd_mm.analysis.benchmark_step_report import report_lines

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/performance.md'
STEPS = ROOT / 'docs/results/benchmark_step.json'


def describe_steps(record: dict[str, Any]) -> list[str]:
    """Return the tables of the training steps.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    lines = [f'{record["title"]}, commit {record["commit"][:7]}, {record["date"][:10]}.']
    for pair, measurement in record['pairs'].items():
        lines += ['', *report_lines(pair, Measurement(**measurement))]
    return lines


def describe_runs(record: dict[str, Any]) -> list[str]:
    """Return the tables of the whole trainings.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    return [_describe_origin(record), '', *benchmark_runs_report.report_lines(benchmark_runs_report.read_runs(record))]


def describe_scaling(record: dict[str, Any]) -> list[str]:
    """Return the table of the training steps in several processes.

    Args:
        record (dict): The content of their JSON file.

    Returns:
        list[str]: The lines in Markdown.
    """
    return [_describe_origin(record), '', *benchmark_scaling_report.report_lines(Scaling(**record['scaling']))]


def _describe_origin(record: dict[str, Any]) -> str:
    return f'{record["title"]}, commit {record["commit"][:7]}, {record["date"][:10]}.'


# The sections whose files need not exist.
SECTIONS = {'benchmark_runs': describe_runs, 'benchmark_scaling': describe_scaling}


def replace_section(page: str, name: str, lines: list[str]) -> str:
    r"""Replace what is between the two comments of a section.

    Args:
        page (str): The page.
        name (str): Name of the section.
        lines (list[str]): Its new lines.

    Returns:
        str: The new page.

    Example:
        >>> replace_section('a\n<!-- begin x -->\nold\n<!-- end x -->\nb', 'x', ['new'])
        'a\n<!-- begin x -->\nnew\n<!-- end x -->\nb'
    """
    begin, end = f'<!-- begin {name} -->\n', f'<!-- end {name} -->'
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + ''.join(f'{line}\n' for line in lines) + end + after


def update(page: str) -> str:
    """Return the page with the tables of the present files.

    Args:
        page (str): The page.

    Returns:
        str: The new page.
    """
    page = replace_section(page, 'benchmark_step', describe_steps(json.loads(STEPS.read_text())))
    for name, describe in SECTIONS.items():
        path = STEPS.with_name(f'{name}.json')
        if path.exists():
            page = replace_section(page, name, describe(json.loads(path.read_text())))
    return page


if __name__ == '__main__':
    PAGE.write_text(update(PAGE.read_text()))
