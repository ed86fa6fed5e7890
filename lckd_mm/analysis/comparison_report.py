"""The report of a comparison: sentences, tables, ``table.md``, ``comparison.json`` and the plot."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lckd_mm.atomic_files import write_text

from .comparison import Comparison
from .comparison_course import steps_to_baseline
from .comparison_plan import STAGES, Plan, make_plan, screening_mean, screening_sentence, stage_runs
from .comparison_plot import plot_comparison
from .comparison_results import Result, ResultStore
from .comparison_robustness import RobustnessStore
from .comparison_robustness_plot import plot_robustness
from .comparison_robustness_report import RobustnessReport, make_robustness_report
from .comparison_robustness_tables import robustness_json, robustness_sentences
from .comparison_settings import check_same_settings
from .comparison_splits import describe_splits
from .comparison_tables import make_tables
from .comparison_verdict import (
    Results,
    Verdict,
    iteration_time,
    make_verdicts,
    num_digits,
    primary_pair,
    reported_value,
    verdict_sentence,
)
from .tables import markdown_table, print_table

# Version of the schema of comparison.json, which docs/comparing.md describes.
_FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Everything that is reported.

    Attributes:
        comparison: The comparison.
        plan: Its plan.
        results: The results of the confirmed variants by seed.
        verdicts: The comparisons of two variants each, the primary one first.
        splits: One sentence about the data.
        interval: Kind of the intervals.
        robustness: The evaluations on corrupted images; None without complete ones.
    """

    comparison: Comparison
    plan: Plan
    results: Results
    verdicts: list[Verdict]
    splits: str
    interval: str
    robustness: RobustnessReport | None = None

    @property
    def digits(self) -> int:
        """Digits after the point."""
        return num_digits([reported_value(r) for runs in self.results.values() for r in runs.values()])

    @property
    def all_results(self) -> list[Result]:
        """The results of all confirmed variants."""
        return [result for runs in self.results.values() for result in runs.values()]


def make_report(comparison: Comparison, store: ResultStore, interval: str = 't') -> Report:
    """Compute the report.

    Args:
        comparison (Comparison): The comparison.
        store (ResultStore): Its results.
        interval (str): ``'t'`` or ``'bootstrap'``. Defaults to 't'.

    Returns:
        Report: The report.

    Raises:
        ConfigValueError: The results have different settings.
    """
    plan = make_plan(comparison, store.selection)
    for stage in STAGES:
        check_same_settings(store.find_all(stage_runs(comparison, plan, stage)))
    results: dict[str, dict[int, Result]] = {setting.variant.name: {} for setting in plan.confirmed}
    for result in store.find_all(stage_runs(comparison, plan, 'confirmation')):
        results[result['variant']][result['seed']] = result
    verdicts = make_verdicts(comparison, plan, results, interval)
    evaluations = RobustnessStore(comparison, store, store.path.parent).lines()
    robustness = make_robustness_report(comparison, plan, evaluations, interval)
    return Report(comparison, plan, results, verdicts, describe_splits(comparison), interval, robustness)


def check_stale_results(comparison: Comparison, store: ResultStore) -> None:
    """Raise an error if results are from other configs than the present ones, for a report without training.

    Args:
        comparison (Comparison): The comparison.
        store (ResultStore): Its results.

    Raises:
        ConfigValueError: A result is from another config.
    """
    plan = make_plan(comparison, store.selection)
    for run in (*plan.missing_screening, *plan.missing_confirmation):
        store.check_not_stale(run)


def write_report(report: Report, out: Path, command: Sequence[str] = ()) -> None:
    """Print the report, and write its files: tables, ``comparison.json`` and plots.

    Args:
        report (Report): The report.
        out (Path): The folder.
        command (Sequence[str]): The command line, for ``comparison.json``. Defaults to ().
    """
    tables, sentences = make_tables(report), make_sentences(report)
    for title, header, rows in tables:
        print_table(title, header, rows)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for sentence in sentences:
        console.print(sentence)
    lines = [f'- {sentence}' for sentence in sentences]
    for title, header, rows in tables:
        lines += ['', f'{title}:', '', *markdown_table(header, rows)]
    write_text(out / 'table.md', '\n'.join(lines) + '\n')
    write_text(out / 'comparison.json', json.dumps(as_json(report, command), indent=2) + '\n')
    if report.plan.screened:
        write_text(out / 'screening.json', json.dumps(_screening(report.plan), indent=2) + '\n')
    files = ['table.md', 'comparison.json']
    if report.all_results:
        plot_comparison(report.comparison, report.results, report.verdicts, out / 'comparison.png')
        files.append('comparison.png')
    if report.robustness is not None:
        plot_robustness(report.robustness, out / 'robustness.png')
        files.append('robustness.png')
    print(', '.join(str(out / name) for name in files))


def make_sentences(report: Report) -> list[str]:
    """Return the verdicts, the data, and what is missing, in words.

    Args:
        report (Report): The report.

    Returns:
        list[str]: One sentence each.
    """
    comparison, plan = report.comparison, report.plan
    sentences = [verdict_sentence(verdict, comparison, report.digits) for verdict in report.verdicts]
    primary = primary_pair(comparison, plan)
    names = {setting.variant.name for setting in plan.confirmed}
    if primary is not None and plan.is_screened and not names.issuperset(primary):
        sentences.append(
            f'The primary comparison, {primary[0]} with {primary[1]}, was not confirmed after the screening.'
        )
    if plan.screened and plan.is_screened:
        sentences.append(screening_sentence(comparison, plan))
    sentences.append(report.splits)
    if report.robustness is not None:
        sentences += robustness_sentences(report.robustness)
    missing = [*plan.missing_screening, *(plan.missing_confirmation if plan.is_screened else ())]
    if missing:
        sentences.append(f'Not finished: {"; ".join(run.title for run in missing)}.')
    return sentences


def _screening(plan: Plan) -> list[dict[str, Any]]:
    return [
        dict(
            variant=setting.variant.name,
            options=list(setting.values),
            values={str(seed): value for seed, value in values.items()},
            mean=screening_mean(values),
            chosen=plan.chosen.get(setting.variant.name) == setting,
            confirmed=setting in plan.confirmed,
        )
        for setting, values in plan.screened.items()
    ]


def as_json(report: Report, command: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of ``comparison.json``, whose schema is in ``docs/comparing.md``.

    Args:
        report (Report): The report.
        command (Sequence[str]): The command line. Defaults to ().

    Returns:
        dict[str, Any]: The content.
    """
    comparison, results = report.comparison, report.all_results
    settings = dict(results[0]['settings']) if results else {}
    variants = [
        dict(
            name=setting.variant.name,
            config=setting.variant.config,
            options=list(setting.options),
            config_fingerprint=next((r['settings']['config'] for r in runs.values()), None),
            teacher_sha256=next((r['settings']['teacher'] for r in runs.values()), None),
            values={str(seed): reported_value(run) for seed, run in runs.items()},
            seconds_per_iteration={str(seed): iteration_time(run) for seed, run in runs.items()},
        )
        for setting in report.plan.confirmed
        for runs in [report.results[setting.variant.name]]
    ]
    return dict(
        format=_FORMAT,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        command=list(command),
        metric=comparison.metric,
        lower_is_better=comparison.lower_is_better,
        seeds=list(comparison.seeds),
        splits=report.splits,
        interval=report.interval,
        hardware={key: settings.get(key) for key in ('device', 'threads', 'precision', 'memory layout')},
        hosts=sorted({result['settings']['host'] for result in results}),
        versions=settings.get('versions'),
        commits=sorted(
            {f'{r["settings"]["commit"]}{" (modified)" * bool(r["settings"]["is_dirty"])}' for r in results}
        ),
        variants=variants,
        comparisons=[verdict.as_dict() for verdict in report.verdicts],
        sentences=make_sentences(report),
        screening=_screening(report.plan),
        steps_to_baseline=steps_to_baseline(report.results, comparison.names[0], comparison.lower_is_better),
        robustness=None if report.robustness is None else robustness_json(report.robustness),
    )
