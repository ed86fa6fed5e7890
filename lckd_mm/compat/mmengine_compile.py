"""Patches of mmengine's compilation of training steps."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import ConfigTypeError
from .patching import patch

_REASON = (
    'the option `compile` of a config compiles the whole training step: in a distillation this compiles neither of the networks, whose '
    'recorders and checks have to run outside of compiled functions'
)
_UNTIL = 'mmengine calls the method `compile` of the model, which is that of torch.nn.Module by default'


@patch(
    'mmengine.runner:Runner',
    '_maybe_compile',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason=_REASON,
    until=_UNTIL,
)
def mmengine_compile(original: Callable[..., None]) -> Callable[..., None]:
    """Call the method `compile` of a model that defines its own."""

    def _maybe_compile(self: Any, target: str) -> None:
        if not _compile_parts(self.model, self.cfg.get('compile')):
            original(self, target)

    return _maybe_compile


@patch(
    'mmengine._strategy.base:BaseStrategy',
    'compile_model',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason=f'{_REASON} (FlexibleRunner)',
    until=_UNTIL,
)
def mmengine_compile_strategy(original: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Call the method `compile` of a model that defines its own."""

    def compile_model(self: Any, model: nn.Module, compile: dict | bool = False) -> nn.Module:
        options = (
            {key: value for key, value in compile.items() if key != 'target'} if isinstance(compile, dict) else compile
        )
        return model if _compile_parts(model, options) else original(self, model, compile)

    return compile_model


def _compile_parts(model: Any, options: Any) -> bool:
    """Compile a model with its own method `compile`, and return whether it has one and the options ask for it."""
    from mmengine.config import ConfigDict
    from mmengine.model import is_model_wrapper

    if is_model_wrapper(model):
        model = model.module
    if type(model).compile is nn.Module.compile or options is None or options is False:
        return False
    if options is not True and not isinstance(options, dict):
        raise ConfigTypeError(
            f'compile={options!r} is no dict: give the options of torch.compile, compile=dict(backend=...) for example, or True.'
        )
    if isinstance(options, ConfigDict):
        options = options.to_dict()
    model.compile(**({} if options is True else options))
    return True
