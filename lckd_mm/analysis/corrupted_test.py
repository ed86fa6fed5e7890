"""Evaluations of one model on corrupted images."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from mmrazor.registry import METRICS

from lckd_mm.engine.corruptions import UNCORRUPTED
from lckd_mm.engine.transforms.corrupt_image import check_imagecorruptions
from lckd_mm.errors import ConfigValueError
from lckd_mm.json_lines import append_json_line

CLEAN = (UNCORRUPTED, 0)
"""Corruption and severity of the evaluation of the images as they are."""


def corrupt_dataset(
    dataset: Mapping[str, Any], corruption: str, severity: int, cache: str | None = None
) -> dict[str, Any]:
    """Insert a corruption into the pipelines of a data set, directly after the image is loaded.

    Args:
        dataset (Mapping): Config of a data set, or of a wrapper of data sets.
        corruption (str): Name of the corruption.
        severity (int): Its severity.
        cache (str, optional): Folder that keeps the corrupted images. Defaults to None.

    Returns:
        dict: A new config.

    Raises:
        ConfigValueError: The data set has no pipeline.

    Example:
        >>> pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        >>> [step['type'] for step in corrupt_dataset(dict(type='A', pipeline=pipeline), 'fog', 3)['pipeline']]
        ['LoadImageFromFile', 'mmrazor.CorruptImage', 'PackInputs']
    """
    if isinstance(dataset.get('dataset'), Mapping):
        return {**dataset, 'dataset': corrupt_dataset(dataset['dataset'], corruption, severity, cache)}
    if dataset.get('datasets'):
        parts = [corrupt_dataset(part, corruption, severity, cache) for part in dataset['datasets']]
        return {**dataset, 'datasets': parts}
    if 'pipeline' not in dataset:
        raise ConfigValueError(
            f'the data set {dataset.get("type")} has no pipeline, into which a corruption could be inserted: add `pipeline` to its config.'
        )
    pipeline = list(dataset['pipeline'])
    loading = [index for index, step in enumerate(pipeline) if _loads_image(step)]
    # Without such a transform the data set itself has the images, as mmpretrain's CIFAR10, in the order RGB.
    order, position = ('bgr', loading[-1] + 1) if loading else ('rgb', 0)
    step = dict(type='mmrazor.CorruptImage', corruption=corruption, severity=severity, channel_order=order, cache=cache)
    return {**dataset, 'pipeline': [*pipeline[:position], step, *pipeline[position:]]}


def _loads_image(step: Mapping[str, Any]) -> bool:
    # A pure Python config names the class.
    kind = step['type'] if isinstance(step['type'], str) else step['type'].__name__
    name = kind.rpartition('.')[2]
    return name.startswith('Load') and 'Image' in name


def select_split(cfg: Config, split: str) -> None:
    """Let the evaluation of the test data be that of another split.

    Args:
        cfg (Config): The config, which is changed.
        split (str): ``'val'`` or ``'test'``.

    Raises:
        ConfigValueError: The config has no data loader for the split.
    """
    if cfg.get(f'{split}_dataloader') is None:
        raise ConfigValueError(f'--split {split}, but the config has no {split}_dataloader: use another split.')
    if split == 'val':
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
        cfg.test_cfg = cfg.get('test_cfg') or dict()


def add_metrics(runner: Runner, types: Sequence[str]) -> list[str]:
    """Add metrics to the evaluation of the test data.

    Args:
        runner (Runner): The runner.
        types (Sequence[str]): Types with default parameters, ``'mmrazor.Calibration'`` for example.

    Returns:
        list[str]: The prefixes of their names.

    Raises:
        ConfigValueError: A type is not in the registry.
    """
    prefixes = []
    for name in types:
        with METRICS.switch_scope_and_registry(runner.default_scope.scope_name) as registry:
            if registry.get(name) is None:
                raise ConfigValueError(
                    f'the metric {name!r} is not in the registry: use a type with its scope, mmrazor.Calibration for example.'
                )
            metric = registry.build(dict(type=name))
        metric.dataset_meta = runner.test_evaluator.dataset_meta
        runner.test_evaluator.metrics.append(metric)
        prefixes.append(metric.prefix or '')
    return prefixes


def evaluate_corruptions(
    runner: Runner,
    corruptions: Sequence[tuple[str, int]],
    path: Path,
    added: Sequence[str] = (),
    cache: str | None = None,
) -> None:
    """Evaluate a model on the images as they are, then with each corruption.

    The model is built and loaded once. Each evaluation builds its data loader, and has the images corrupted while they are loaded.

    Args:
        runner (Runner): The runner of the evaluation; its config has the data loader.
        corruptions (Sequence[tuple[str, int]]): Names and severities.
        path (Path): A file that receives one line of JSON for each evaluation as soon as it is finished: ``corruption``,
            ``severity``, ``metrics``, ``added`` (the names of those with a prefix in ``added``) and ``seconds``.
        added (Sequence[str]): Prefixes of metrics. Defaults to ().
        cache (str, optional): Folder that keeps the corrupted images for the evaluations of other models. Defaults to None.
    """
    if corruptions:
        check_imagecorruptions()
    path.parent.mkdir(parents=True, exist_ok=True)
    loader = runner.cfg.test_dataloader
    for corruption, severity in (CLEAN, *corruptions):
        start = time.monotonic()
        if (corruption, severity) == CLEAN:
            # Loads the checkpoint as well.
            metrics = runner.test()
        else:
            dataset = corrupt_dataset(loader.dataset, corruption, severity, cache)
            runner.test_loop.dataloader = runner.build_dataloader({**loader, 'dataset': dataset}, seed=runner.seed)
            metrics = runner.test_loop.run()
        numbers = {name: float(value) for name, value in metrics.items() if _is_number(value)}
        line = dict(
            corruption=corruption,
            severity=severity,
            metrics=numbers,
            added=[name for name in numbers if name.startswith(tuple(f'{prefix}/' for prefix in added))],
            seconds=time.monotonic() - start,
        )
        append_json_line(path, line)
        # A caller reads the file after each line of the output.
        print(f'{corruption}, severity {severity}: {numbers}', flush=True)


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
