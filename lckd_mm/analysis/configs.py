"""Reading of config files, the same for all tools."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.utils import is_installed

from lckd_mm.errors import ConfigError, ConfigFileNotFoundError, ConfigKeyError, ConfigValueError

# Keys by which the blocks in configs/_base_/distillers hand their content to a config, and the places that they fill.
# They have no effect after the config has been read.
HELPER_KEYS = {'distillation': 'model', 'distillation_hooks': 'default_hooks'}


def load_config(path: str, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file and override some of its values.

    Args:
        path (str): A file, or a config of an installed package, ``'lckd_mm::voc/lckd_faster_rcnn.py'`` for example.
        cfg_options (Mapping[str, Any], optional): New values by dotted key. Defaults to None.

    Returns:
        Config: The config without the helper keys ``distillation`` and ``distillation_hooks``.

    Raises:
        ConfigFileNotFoundError: There is no such file or package.
        ConfigKeyError: An option addresses a helper key.
        ConfigValueError: The file cannot be read, or an option does not fit its place in the config.

    Example:
        >>> cfg = load_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py', {'model.head.topk': (1,)})
        >>> cfg.model.head.topk
        (1,)
    """
    cfg = _read(path)
    for key in HELPER_KEYS:
        cfg.pop(key, None)
    if cfg_options:
        _override(cfg, cfg_options)
    return cfg


def _read(path: str) -> Config:
    package, colons, _ = path.partition('::')
    # mmengine would install the package from the package index.
    if colons and not is_installed(package):
        raise ConfigFileNotFoundError(
            f'config {path!r} names the package {package!r}, which is not installed: install it.'
        )
    try:
        return get_config(path) if colons else Config.fromfile(path)
    except FileNotFoundError as error:
        reason = '' if path in str(error) else f' ({error})'
        raise ConfigFileNotFoundError(
            f'config {path!r} does not exist{reason}: give a path, or PACKAGE::PATH for a config of an installed package.'
        ) from error
    except ConfigError:
        raise
    # A config is Python code, which can raise anything.
    except Exception as error:
        reason = ' '.join(str(error).split())
        raise ConfigValueError(
            f'config {path!r} cannot be read ({type(error).__name__}: {reason}): correct the file.'
        ) from error


def _override(cfg: Config, cfg_options: Mapping[str, Any]) -> None:
    for key in cfg_options:
        head, _, rest = key.partition('.')
        if head in HELPER_KEYS:
            target = f'{HELPER_KEYS[head]}.{rest}' if rest else HELPER_KEYS[head]
            raise ConfigKeyError(
                f'--cfg-options {key}: {head!r} has no effect after the config has been read; use {target!r} instead.'
            )
    try:
        cfg.merge_from_dict(dict(cfg_options))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = ' '.join(str(error.args[0] if error.args else error).split())
        raise ConfigValueError(f'--cfg-options {", ".join(cfg_options)} does not fit the config: {reason}.') from error
