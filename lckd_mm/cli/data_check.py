"""A check that the data sets of a config exist."""

import inspect
import os
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from lckd_mm.errors import ConfigFileNotFoundError


def check_data(cfg: Config, *loaders: str) -> None:
    """Reject a config whose data sets do not exist.

    mmengine reports a missing file only when it reads it, without instructions; the ``data_help`` of a config contains them. A data
    set that downloads its files, such as CIFAR-10 of mmpretrain, or reads them from another storage, is not checked.

    Args:
        cfg (Config): The config.
        *loaders (str): Keys of its data loaders, ``'train_dataloader'`` for example.

    Raises:
        ConfigFileNotFoundError: A list of annotations, or without one a folder of images or masks, does not exist.

    Example:
        >>> check_data(Config(dict(train_dataloader=dict(dataset=dict(data_root='.')))), 'train_dataloader')
    """
    for name in loaders:
        for dataset in _find_datasets(cfg.get(name) or {}):
            if _is_downloaded(dataset, cfg.get('default_scope')) or _is_remote(dataset):
                continue
            for path in _required_paths(dataset):
                if path and '://' not in path and not os.path.exists(path):
                    fix = cfg.get('data_help') or 'set data_root to its folder'
                    raise ConfigFileNotFoundError(
                        f'the data set of {name} does not exist: {path!r} is missing in {os.getcwd()!r}; {fix}.'
                    )


def _is_downloaded(dataset: dict[str, Any], scope: str | None) -> bool:
    """Return whether the class of a data set downloads missing files."""
    kind = dataset.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(dataset.get('_scope_', scope)) as registry:
            kind = registry.get(kind)
    option = inspect.signature(kind).parameters.get('download') if inspect.isclass(kind) else None
    return option is not None and bool(dataset.get('download', option.default))


def _is_remote(dataset: dict[str, Any]) -> bool:
    """Return whether a data set reads its files through a backend that maps their paths."""
    backend = dataset.get('backend_args') or dataset.get('file_client_args') or {}
    return backend.get('backend', 'local') not in ('local', 'disk') or bool(backend.get('path_mapping'))


def _required_paths(dataset: dict[str, Any]) -> list[str]:
    """Return the list of annotations or, without one, the folders of images and masks."""
    root, ann_file, prefix = dataset.get('data_root') or '', dataset.get('ann_file'), dataset.get('data_prefix') or ''
    if ann_file:
        return [os.path.join(root, ann_file)]
    folders = list(prefix.values()) if isinstance(prefix, dict) else [prefix]
    return [os.path.join(root, folder) for folder in folders if isinstance(folder, str)] or [root]


def _find_datasets(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every data set in the config of a data loader, including wrapped ones."""
    if isinstance(part, dict):
        if isinstance(part.get('ann_file') or part.get('data_root'), str):
            yield part
        for value in part.values():
            yield from _find_datasets(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _find_datasets(value)
