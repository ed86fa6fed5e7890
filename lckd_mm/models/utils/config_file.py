"""Reading of config files."""

import threading
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.utils import is_installed

from lckd_mm.errors import ConfigError, ConfigFileNotFoundError, ConfigValueError

# mmengine reloads pkg_resources and changes other global state while it reads a config.
_READING = threading.RLock()


def read_config(path: str) -> Config:
    """Read a config file. Simultaneous threads read one after another.

    Args:
        path (str): A file, or a config of an installed package, ``'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'`` for example.

    Returns:
        Config: The config.

    Raises:
        ConfigFileNotFoundError: There is no such file or package.
        ConfigValueError: The file cannot be read.

    Example:
        >>> read_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py').model.head.num_classes
        10
    """
    with _READING:
        return _read_config(path)


def _read_config(path: str) -> Config:
    package, colons, _ = path.partition('::')
    # mmengine would install the package from the package index.
    if colons and not is_installed(package):
        raise ConfigFileNotFoundError(
            f'config {path!r} names the package {package!r}, which is not installed: install it.'
        )
    try:
        return get_config(path) if colons else Config.fromfile(path)
    except ConfigError:
        raise
    except FileNotFoundError as error:
        reason = '' if path in str(error) else f' ({error})'
        raise ConfigFileNotFoundError(
            f'config {path!r} does not exist{reason}: give a path, or PACKAGE::PATH for a config of an installed package.'
        ) from error
    # A config is Python code, which can raise anything.
    except Exception as error:
        reason = ' '.join(str(error).split())
        raise ConfigValueError(
            f'config {path!r} cannot be read ({type(error).__name__}: {reason}): correct the file.'
        ) from error


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Override values of a config by dotted key, the more general keys first.

    ``Config.merge_from_dict`` drops ``a.b`` if ``a`` follows it in the same dict.

    Args:
        config (Config): The config, which is changed.
        options (Mapping[str, Any]): New values by dotted key, in any order.

    Example:
        >>> config = Config(dict(backbone=dict(depth=50, width=64)))
        >>> merge_options(config, {'backbone.depth': 101, 'backbone': {'width': 32}})
        >>> config.backbone
        {'depth': 101, 'width': 32}
    """
    for key, value in sorted(options.items(), key=lambda option: option[0].count('.')):
        config.merge_from_dict({key: value})
