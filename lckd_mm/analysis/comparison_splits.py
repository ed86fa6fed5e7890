"""The split that selects and the split that is reported."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lckd_mm.errors import ConfigValueError

from .comparison import Comparison
from .configs import load_config, parse_options


@dataclass(frozen=True)
class Splits:
    """The evaluations of a variant.

    Attributes:
        select: Split of the selection: ``'val'``, the evaluation during the training, or ``'test'``.
        report: Split of the report.
        same_images: Whether both have the same images.
        same_evaluation: Whether both evaluations are the same, so that one is sufficient.
    """

    select: str
    report: str
    same_images: bool
    same_evaluation: bool


def find_splits(comparison: Comparison, config: str, options: tuple[str, ...] = ()) -> Splits:
    """Return the splits of a variant, and whether they are the same data.

    Args:
        comparison (Comparison): The comparison.
        config (str): The config of the variant.
        options (tuple[str, ...]): Its overrides.

    Returns:
        Splits: The splits.

    Raises:
        ConfigValueError: The config has no data loader for a split.
    """
    selecting = load_config(config, parse_options((*comparison.select_options, *options)))
    reporting = selecting
    if comparison.report_options:
        reporting = load_config(
            config, parse_options((*comparison.select_options, *options, *comparison.report_options))
        )
    if selecting.get('val_dataloader') is None:
        raise ConfigValueError(
            f'{config} has no val_dataloader, but a comparison reads the course of the metric from the evaluations of the training: add '
            'val_dataloader, val_evaluator and val_cfg.'
        )
    report = comparison.report_on or ('val' if reporting.get('test_dataloader') is None else 'test')
    parts = (('select_on', comparison.select_on, selecting), ('report_on', report, reporting))
    for key, split, cfg in parts:
        if cfg.get(f'{split}_dataloader') is None:
            raise ConfigValueError(
                f'{key}={split!r}, but {config} has no {split}_dataloader: set {key} to another split.'
            )
    data = [cfg[f'{split}_dataloader'].get('dataset') for _, split, cfg in parts]
    evaluators = [cfg.get(f'{split}_evaluator') for _, split, cfg in parts]
    return Splits(
        comparison.select_on,
        report,
        same_images=_without_pipeline(data[0]) == _without_pipeline(data[1]),
        # Options of the report may change the model as well.
        same_evaluation=data[0] == data[1] and evaluators[0] == evaluators[1] and not comparison.report_options,
    )


def _without_pipeline(dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        return {key: _without_pipeline(value) for key, value in dataset.items() if key != 'pipeline'}
    return [_without_pipeline(entry) for entry in dataset] if isinstance(dataset, (list, tuple)) else dataset


def resolve_splits(comparison: Comparison) -> Comparison:
    """Set ``report_on`` if it has no value, and check that the configs have the splits.

    Args:
        comparison (Comparison): The comparison.

    Returns:
        Comparison: The comparison with a value for ``report_on``.

    Raises:
        ConfigValueError: A config lacks a split, or the variants would be reported on different ones.
    """
    reports = {v.name: find_splits(comparison, v.config, v.options).report for v in comparison.variants}
    if len(set(reports.values())) > 1:
        names = [name for name, report in reports.items() if report == 'val']
        raise ConfigValueError(
            f'the configs of {names} have no test_dataloader, those of the other variants have one: set report_on to "val".'
        )
    return replace(comparison, report_on=next(iter(reports.values())))


def describe_splits(comparison: Comparison) -> str:
    """Return one sentence about the data that select and that are reported.

    Args:
        comparison (Comparison): The comparison, with a value for ``report_on``.

    Returns:
        str: The sentence.
    """
    same = [v.name for v in comparison.variants if find_splits(comparison, v.config, v.options).same_images]
    select, report = (f'{split}_dataloader' for split in (comparison.select_on, comparison.report_on))
    if not same:
        return f'Selected on {comparison.select_on}, reported on {comparison.report_on}: different data.'
    names = '' if len(same) == len(comparison.variants) else f' ({", ".join(same)})'
    data = f'both on {select}' if select == report else f'{select} and {report} have the same data'
    return f'Selected and reported on the same images{names}: {data}, so that the values of a selected setting are optimistic.'
