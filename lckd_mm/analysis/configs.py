"""Reading of config files with overrides, the same for all tools."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lckd_mm.errors import ConfigKeyError, ConfigValueError
from lckd_mm.models.utils import read_config

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
    cfg = read_config(path)
    for key in HELPER_KEYS:
        cfg.pop(key, None)
    if cfg_options:
        _override(cfg, cfg_options)
    return cfg


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
