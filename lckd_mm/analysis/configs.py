"""Reading of config files with overrides, the same for all tools."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from lckd_mm.errors import ConfigKeyError, ConfigValueError
from lckd_mm.models.utils import merge_options, read_config

from .option_values import parse_value

# Keys by which the blocks in configs/_base_/distillers hand their content to a config, and the places that they fill.
# They have no effect after the config has been read.
HELPER_KEYS = {'distillation': 'model', 'distillation_hooks': 'default_hooks'}

# The arguments of the Runner, and what the tools and the OpenMMLab packages read beside them.
_RUNNER_KEYS = (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | {
    'auto_scale_lr',
    'runner_type',
    'tta_model',
    'vis_backends',
}
# Below it lie all keys of the configs of mmdet, mmseg and mmpretrain that are no misspellings: 'conv_cfg' and 'env_cfg' have 0.80.
_MISSPELLING = 0.85


def load_config(path: str, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file and override some of its values.

    Args:
        path (str): A file, or a config of an installed package, ``'lckd_mm::voc/lckd_faster_rcnn.py'`` for example.
        cfg_options (Mapping[str, Any], optional): New values by dotted key. Defaults to None.

    Returns:
        Config: The config without the helper keys ``distillation`` and ``distillation_hooks``.

    Raises:
        ConfigFileNotFoundError: There is no such file or package.
        ConfigKeyError: An option addresses a helper key, or a key at the top level is nearly that of an argument of the Runner.
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
    _check_top_level_keys(cfg)
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
        merge_options(cfg, cfg_options)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = ' '.join(str(error.args[0] if error.args else error).split())
        raise ConfigValueError(f'--cfg-options {", ".join(cfg_options)} does not fit the config: {reason}.') from error


def _check_top_level_keys(cfg: Config) -> None:
    """Raise an error for a key that has no effect since it is misspelled; all other keys are variables of the user."""
    for key in set(cfg) - _RUNNER_KEYS:
        for known in difflib.get_close_matches(key, _RUNNER_KEYS, n=1, cutoff=_MISSPELLING):
            # `val_evaluator_abs` beside `val_evaluator`, or a list `models` beside the dict `model`, is a variable.
            is_variable = key.startswith(f'{known}_') or not isinstance(cfg[key], type(cfg.get(known, cfg[key])))
            if not is_variable:
                raise ConfigKeyError(
                    f'{key!r} at the top level of the config has no effect; did you mean {known!r}? Rename it, also if it is a variable.'
                )


def use_amp(cfg: Config) -> None:
    """Let a training use automatic mixed precision.

    Args:
        cfg (Config): The config, which is changed.

    Raises:
        ConfigValueError: The config has another optimizer wrapper.

    Example:
        >>> cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
        >>> use_amp(cfg)
        >>> cfg.optim_wrapper
        {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}
    """
    wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
    # A pure Python config names the class.
    if getattr(wrapper, '__name__', wrapper) not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigValueError(
            f"--amp does not work with optim_wrapper.type={wrapper!r}; valid: 'OptimWrapper', 'AmpOptimWrapper'."
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse overrides of a config as ``--cfg-options`` does.

    Args:
        options (Sequence[str]): ``'key=value'`` each.

    Returns:
        dict[str, Any]: Values by dotted key.

    Example:
        >>> parse_options(['model.depth=18', 'x=[1,2]', 'name=text'])
        {'model.depth': 18, 'x': [1, 2], 'name': 'text'}
    """
    return {key: parse_value(value) for key, _, value in (option.partition('=') for option in options)}
