"""The hooks that ``train`` and ``test`` add to a config."""

from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.config import Config

# Name in `default_hooks` and class of each hook.
ADDED_HOOKS = {
    'data_size': 'DataSizeHook',
    'class_count': 'ClassCountHook',
    'annotation_check': 'AnnotationCheckHook',
    'sample_errors': 'SampleErrorHook',
    'checkpoint_match': 'CheckpointMatchHook',
    'iteration_seed': 'IterationSeedHook',
    'accumulated_gradients': 'AccumulatedGradientHook',
    'module_attributes': 'ModuleAttributeHook',
    'resume_point': 'ResumePointHook',
    'metric_check': 'MetricCheckHook',
    'finite_loss': 'FiniteLossHook',
}


def add_default_hooks(cfg: Config, names: Iterable[str]) -> None:
    """Add hooks to ``default_hooks``, so that the dumped config contains them.

    A name that exists in ``default_hooks`` stays as it is; ``default_hooks.annotation_check=None`` switches that hook off.
    A hook whose class the config contains under another name is not added.

    Args:
        cfg (Config): The config, which is changed.
        names (Iterable[str]): Keys of ``ADDED_HOOKS``.

    Example:
        >>> cfg = Config(dict(default_hooks=dict(annotation_check=None)))
        >>> add_default_hooks(cfg, ['class_count', 'annotation_check'])
        >>> cfg.default_hooks
        {'annotation_check': None, 'class_count': {'type': 'mmrazor.ClassCountHook'}}
    """
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = {}
    configured = set(_hook_types(cfg))
    for name in names:
        hook = ADDED_HOOKS[name]
        if name not in cfg.default_hooks and hook not in configured:
            cfg.default_hooks[name] = dict(type=f'mmrazor.{hook}')


def _hook_types(cfg: Config) -> Iterator[str]:
    """Yield the class names of all hooks in a config."""
    hooks: list[Any] = [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or ())]
    for hook in hooks:
        if isinstance(hook, dict) and 'type' in hook:
            # A type is a name with or without scope, or a class.
            yield getattr(hook['type'], '__name__', str(hook['type'])).rpartition('.')[2]
