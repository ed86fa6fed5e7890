"""The split that selects and the split that is reported."""

from collections.abc import Mapping
from dataclasses import dataclass
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
        same_evaluation=data[0] == data[1] and evaluators[0] == evaluators[1],
    )


def _without_pipeline(dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        return {key: _without_pipeline(value) for key, value in dataset.items() if key != 'pipeline'}
    return [_without_pipeline(entry) for entry in dataset] if isinstance(dataset, (list, tuple)) else dataset


def describe_splits(comparison: Comparison) -> str:
    """Return one sentence about the data that select and that are reported.

    Args:
        comparison (Comparison): The comparison.

    Returns:
        str: The sentence.

    Raises:
        ConfigValueError: The variants would be reported on different splits.
    """
    by_variant = {
        variant.name: find_splits(comparison, variant.config, variant.options) for variant in comparison.variants
    }
    reports = {splits.report for splits in by_variant.values()}
    if len(reports) > 1:
        without = [name for name, splits in by_variant.items() if splits.report == 'val']
        raise ConfigValueError(
            f'the configs of {without} have no test_dataloader, those of the other variants have one: set report_on to "val".'
        )
    same = [name for name, splits in by_variant.items() if splits.same_images]
    (report,) = reports
    if not same:
        return f'Selected on {comparison.select_on}, reported on {report}: different data.'
    names = '' if len(same) == len(by_variant) else f' ({", ".join(same)})'
    return (
        f'Selected and reported on the same images{names}: {comparison.select_on}_dataloader and {report}_dataloader have the same '
        'data, so that values of a setting that was selected on them are optimistic.'
    )
