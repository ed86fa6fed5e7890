"""A check that the configs of the OpenMMLab packages pass the checks before a training."""

import copy
import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch import nn

from lckd_mm.engine.class_counts import ClassHead, class_count_problem, class_heads, validation_count_problem
from lckd_mm.errors import ConfigValueError

__all__ = ['StockConfig', 'check_config', 'check_files', 'report', 'stock_configs']

PACKAGES = ('mmdet', 'mmseg', 'mmpretrain')
# Keys of a model config that are replaced or ignored, since the heads do not depend on them.
_FEATURES = ('backbone', 'neck')


class StockConfig(NamedTuple):
    """The parts of a config that a check compares.

    Attributes:
        heads: The heads of the model.
        metainfo: The metainfo of the training data; empty if the config has none.
        problem: What the check refuses; None if it passes.
    """

    heads: list[ClassHead]
    metainfo: dict[str, Any]
    problem: str | None


def stock_configs(packages: Iterable[str] = PACKAGES) -> list[Path]:
    """Return the configs that are installed with OpenMMLab packages, without base files.

    Args:
        packages (Iterable[str]): Names of packages. Defaults to mmdet, mmseg and mmpretrain.

    Returns:
        list[Path]: The config files.

    Example:
        >>> [path.name for path in stock_configs(['mmseg'])][:1]
        ['ann_r101-d8_4xb2-40k_cityscapes-512x1024.py']
    """
    paths: list[Path] = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigValueError(f'package {package!r} is not installed; valid: {", ".join(map(repr, PACKAGES))}.')
        folder = Path(spec.origin).parent / '.mim' / 'configs'
        paths += sorted(path for path in folder.rglob('*.py') if '_base_' not in path.parts)
    return paths


def check_config(cfg: Config, cache: dict[str, list[ClassHead]] | None = None) -> StockConfig:
    """Compare the heads of a config with the classes of its training data, without annotation files.

    The model is built without its backbone and its necks. The classes are those of the config or of the data set class.

    Args:
        cfg (Config): A config of an OpenMMLab package.
        cache (dict[str, list[ClassHead]], optional): The heads of models that were built before, which is extended.

    Returns:
        StockConfig: The heads, the classes and the result.

    Example:
        >>> head = dict(type='LinearClsHead', num_classes=10, in_channels=4)
        >>> model = dict(type='ImageClassifier', backbone=dict(type='ResNet'), head=head)
        >>> loader = dict(dataset=dict(type='CIFAR100'))
        >>> cfg = Config(dict(default_scope='mmpretrain', model=model, train_dataloader=loader))
        >>> check_config(cfg).problem[:62]
        'head has num_classes=10, but the training data have 100 classe'
    """
    scope = cfg.get('default_scope', 'mmengine')
    with DefaultScope.overwrite_default_scope(scope):
        metainfo, validation = (
            dataset_metainfo((cfg.get(key) or {}).get('dataset')) for key in ('train_dataloader', 'val_dataloader')
        )
        heads = _cached_heads(cfg, scope, {} if cache is None else cache)
    problem = class_count_problem(heads, metainfo)
    if problem is None and heads and 'tracker' not in cfg.model:
        problem = validation_count_problem(validation.get('classes'), metainfo.get('classes'))
    return StockConfig(heads, metainfo, problem)


def dataset_metainfo(dataset: Any) -> dict[str, Any]:
    """Return the metainfo of the config of a data set, which is not built.

    Args:
        dataset (Any): The config, which may contain others.

    Returns:
        dict[str, Any]: The metainfo; empty if there is none.

    Example:
        >>> dataset_metainfo(dict(type='RepeatDataset', dataset=dict(type='mmdet.VOCDataset')))['classes'][:2]
        ('aeroplane', 'bicycle')
    """
    if not isinstance(dataset, dict):
        return {}
    parts = dataset.get('datasets') or [dataset['dataset']] if 'dataset' in dataset or 'datasets' in dataset else []
    if parts:
        # A wrapper has the metainfo of its first part.
        return dataset_metainfo(parts[0])
    with DATASETS.switch_scope_and_registry(None) as registry:
        kind = dataset['type'] if isinstance(dataset['type'], type) else registry.get(dataset['type'])
    metainfo = dict(dataset.get('metainfo') or {})
    if dataset.get('classes') is not None:
        metainfo['classes'] = dataset['classes']
    # Every data set class of the three packages is a `BaseDataset`, whose metainfo this method merges.
    return dict(kind._load_metainfo(metainfo)) if hasattr(kind, '_load_metainfo') else metainfo


def _cached_heads(cfg: Config, scope: str, cache: dict[str, list[ClassHead]]) -> list[ClassHead]:
    model = copy.deepcopy(cfg.model.to_dict())
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor.to_dict())
    without_features = _replace_features(model)
    key = json.dumps(
        [scope, without_features], sort_keys=True, default=lambda value: getattr(value, '__name__', repr(value))
    )
    if key not in cache:
        cache[key] = list(class_heads(_built(without_features, model)))
    return cache[key]


def _built(without_features: dict[str, Any], model: dict[str, Any]) -> nn.Module:
    try:
        built: nn.Module = MODELS.build(ConfigDict(copy.deepcopy(without_features)))
    except Exception:
        # Some models read attributes of their backbone.
        built = MODELS.build(ConfigDict(model))
    return built


def _replace_features(part: Any) -> Any:
    """Return a copy of a config in which the parts that compute features are placeholders, and weights are not loaded."""
    if part == 'MMSyncBN':
        # This layer can only be built in a distributed training.
        return 'BN'
    if isinstance(part, dict):
        return {
            key: dict(type=_Features) if key in _FEATURES and isinstance(value, dict) else _replace_features(value)
            for key, value in part.items()
            if key not in ('init_cfg', 'pretrained')
        }
    if isinstance(part, (list, tuple)):
        return [_replace_features(value) for value in part]
    return part


class _Features(nn.Module):
    """Placeholder for a backbone or a neck."""


def check_files(paths: Iterable[Path]) -> Iterator[tuple[Path, StockConfig | Exception]]:
    """Check config files one after the other; a config that cannot be read or built yields its exception.

    Args:
        paths (Iterable[Path]): Config files.

    Yields:
        tuple[Path, StockConfig | Exception]: The file and the result.

    Example:
        >>> path = next(path for path in stock_configs(['mmpretrain']) if path.name == 'resnet18_8xb32_in1k.py')
        >>> [result.problem for _, result in check_files([path])]
        [None]
    """
    cache: dict[str, list[ClassHead]] = {}
    for path in paths:
        try:
            cfg = Config.fromfile(path)
            # Some files leave out the scope, which the package implies.
            cfg.setdefault('default_scope', next((part for part in path.parts if part in PACKAGES), 'mmengine'))
            yield path, check_config(cfg, cache)
        except Exception as error:
            yield path, error


def report(results: Iterable[tuple[Path, StockConfig | Exception]]) -> tuple[str, bool]:
    """Summarize the results of :func:`check_files`.

    Args:
        results (Iterable[tuple[Path, StockConfig | Exception]]): Files and results.

    Returns:
        tuple[str, bool]: The text, and whether no config is refused.

    Example:
        >>> print(report([(Path('configs/a/b.py'), StockConfig([], {}, None)), (Path('c.py'), ImportError('no clip'))])[0])
        2 configs: 0 compared, 1 without heads or classes to compare, 1 not built, 0 refused
        not built: c.py: ImportError: no clip
    """
    lines, compared, passed = [], 0, 0
    refused = not_built = 0
    for path, result in results:
        name = '/'.join(path.parts[-2:])
        if isinstance(result, Exception):
            not_built += 1
            lines.append(f'not built: {name}: {type(result).__name__}: {" ".join(str(result).split())[:160]}')
        elif result.problem is not None:
            refused += 1
            lines.append(f'refused: {name}: {result.problem}')
        elif result.heads and result.metainfo.get('classes') is not None:
            compared += 1
        else:
            passed += 1
    summary = (
        f'{compared + passed + not_built + refused} configs: {compared} compared, {passed} without heads or classes to '
        f'compare, {not_built} not built, {refused} refused'
    )
    return '\n'.join([summary, *sorted(lines)]), refused == 0
