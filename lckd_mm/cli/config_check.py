"""A check of the numbers in a config that a training or an evaluation counts with."""

import contextlib
import math
from typing import Any

from mmengine.config import Config
from mmengine.registry import FUNCTIONS, OPTIMIZERS, DefaultScope

from lckd_mm.errors import ConfigKeyError, ConfigValueError, unknown_name

# What a loop counts with.
_COUNTS = ('max_epochs', 'max_iters', 'val_interval')
_PARTS = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}


def check_config(cfg: Config, required: str, *optional: str) -> None:
    """Reject a config that lacks a part of a loop, or whose counts are no valid numbers.

    Args:
        cfg (Config): The config.
        required (str): The loop that runs: ``'train'`` or ``'test'``.
        *optional (str): Loops that run if they are configured.

    Raises:
        ConfigKeyError: A part is missing, or a function of a data loader is unknown.
        ConfigValueError: A count is not valid.

    Example:
        >>> check_config(Config(dict(train_dataloader=dict(batch_size=0), train_cfg=dict(), optim_wrapper=dict())), 'train')
        Traceback (most recent call last):
        ...
        lckd_mm.errors.ConfigValueError: train_dataloader.batch_size=0 is not valid: use a whole number, 1 or more.
    """
    for loop in (required, *optional):
        missing = [name for name in _PARTS[loop] if cfg.get(name) is None]
        if missing and (loop == required or len(missing) < len(_PARTS[loop])):
            raise ConfigKeyError(
                f'the config has no {" and no ".join(missing)}: a {loop} loop needs {", ".join(_PARTS[loop])}; add what is missing.'
            )
        loader = cfg.get(f'{loop}_dataloader')
        if isinstance(loader, dict):
            _check_loader(f'{loop}_dataloader', loader)
        if loop == 'train':
            _check_optimizer(cfg)
        counts = cfg.get(f'{loop}_cfg')
        for name in _COUNTS if isinstance(counts, dict) else ():
            _check_count(f'{loop}_cfg.{name}', counts.get(name))


def _check_loader(name: str, loader: dict[str, Any]) -> None:
    _check_count(f'{name}.batch_size', loader.get('batch_size'))
    _check_count(f'{name}.num_workers', loader.get('num_workers'), minimum=0)
    for option in ('collate_fn', 'worker_init_fn'):
        kind = loader[option].get('type') if isinstance(loader.get(option), dict) else None
        if isinstance(kind, str):
            # The Runner does not search the default scope.
            with contextlib.suppress(RuntimeError):
                if FUNCTIONS.get(kind) is not None:
                    continue
            raise ConfigKeyError(unknown_name(f'{name}.{option}.type', kind, FUNCTIONS.module_dict))


def _check_optimizer(cfg: Config) -> None:
    """Check the type of the optimizer, which mmengine looks up without reporting that it does not exist."""
    optimizer = cfg.optim_wrapper.get('optimizer') if isinstance(cfg.optim_wrapper, dict) else None
    kind = optimizer.get('type') if isinstance(optimizer, dict) else None
    if not isinstance(kind, str) or '.' in kind:
        return
    with (
        DefaultScope.overwrite_default_scope(cfg.get('default_scope')),
        OPTIMIZERS.switch_scope_and_registry(None) as registry,
    ):
        if registry.get(kind) is None:
            valid = [*OPTIMIZERS.module_dict, *registry.module_dict]
            raise ConfigKeyError(unknown_name('optim_wrapper.optimizer.type', kind, valid))


def _check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Check a whole number; None stands for a default. An infinite interval is never reached, which is valid."""
    is_whole = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
    is_never = name.endswith('_interval') and value == math.inf
    if value is not None and not is_never and (not is_whole or value < minimum):
        raise ConfigValueError(f'{name}={value!r} is not valid: use a whole number, {minimum} or more.')
