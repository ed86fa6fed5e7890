import copy
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import nn

from ..distillation import unwrapped_model

_KEY = 'module_attributes'
# Attributes that every module has, hooks and `training` among them.
_BASE_ATTRIBUTES = frozenset(vars(nn.Module()))


@HOOKS.register_module()
class ModuleAttributeHook(Hook):
    """Save and restore the attributes of modules that change during the training and that no state dict contains.

    Examples are the image size that YOLOX draws every ten iterations, and the thresholds of Dynamic R-CNN. Only numbers, strings and
    containers of them are saved; a tensor belongs into a buffer.

    Example:
        >>> default_hooks = dict(module_attributes=dict(type='mmrazor.ModuleAttributeHook'))
    """

    # After the hooks that prepare the model, and before the checkpoint is saved.
    priority = 'LOW'

    def __init__(self) -> None:
        self._initial: dict[str, Any] = {}
        self._loaded: dict[str, Any] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the attributes of a resumed training for :meth:`before_train`.

        Args:
            runner (Runner): The runner of the training. If it only loads weights, the attributes are ignored.
            checkpoint (dict[str, Any]): The loaded checkpoint.
        """
        if runner._resume:
            self._loaded = checkpoint.get(_KEY, {})

    def before_train(self, runner: Runner) -> None:
        """Note the initial attributes, and restore those of a resumed training.

        Args:
            runner (Runner): The runner of the training.
        """
        model = unwrapped_model(runner)
        self._initial = _plain_attributes(model)
        modules = dict(model.named_modules())
        for path, value in self._loaded.items():
            module, _, name = path.rpartition('.')
            if module in modules:
                setattr(modules[module], name, value)
        self._loaded = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the changed attributes to a checkpoint that contains the optimizer.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict[str, Any]): The checkpoint that is about to be saved.
        """
        attributes = _plain_attributes(unwrapped_model(runner)) if 'optimizer' in checkpoint else {}
        changed = {
            path: value
            for path, value in attributes.items()
            if path not in self._initial or self._initial[path] != value
        }
        if changed:
            checkpoint[_KEY] = changed


def _plain_attributes(model: nn.Module) -> dict[str, Any]:
    """Return copies of the attributes of all modules that are plain data, by path."""
    return {
        f'{path}.{name}': copy.deepcopy(value)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in _BASE_ATTRIBUTES and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    # Exact types: config dicts and the like describe the model, they do not change.
    if type(value) is dict:
        return all(_is_plain(item) for pair in value.items() for item in pair)
    if type(value) in (list, tuple, set):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
