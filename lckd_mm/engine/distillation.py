"""Access of the hooks to the model in training and to its parts."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from lckd_mm.errors import ConfigTypeError


def unwrapped_model(runner: Runner) -> nn.Module:
    """Return the model in training without its wrapper for distributed training.

    Args:
        runner (Runner): The runner of the training.

    Returns:
        nn.Module: The model that the config describes.

    Example:
        >>> from types import SimpleNamespace
        >>> unwrapped_model(SimpleNamespace(model=nn.ReLU()))
        ReLU()
    """
    model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return model


def student_of(runner: Runner) -> nn.Module:
    """Return the student of a distillation, or the model itself if the training is no distillation.

    Args:
        runner (Runner): The runner of the training.

    Returns:
        nn.Module: The model that the data set must match.

    Example:
        >>> from types import SimpleNamespace
        >>> student_of(SimpleNamespace(model=SimpleNamespace(architecture=nn.ReLU(), teacher=nn.Tanh())))
        ReLU()
    """
    model: Any = unwrapped_model(runner)
    # All algorithms of MMRazor name the model to be trained `architecture`.
    student: nn.Module = model.architecture if hasattr(model, 'architecture') else model
    return student


def distiller_of(runner: Runner, hook: Hook) -> Any:
    """Return the distiller of the model in training.

    Args:
        runner (Runner): The runner of the training.
        hook (Hook): The hook that needs the distiller; the error names it.

    Returns:
        Any: The distiller, a module with an attribute ``distill_losses``.

    Raises:
        ConfigTypeError: The model has no distiller.

    Example:
        >>> from types import SimpleNamespace
        >>> distiller_of(SimpleNamespace(model=nn.ReLU()), Hook())
        Traceback (most recent call last):
        ...
        lckd_mm.errors.ConfigTypeError: Hook requires a distillation, but the model is a ReLU, which has no distiller: ...
    """
    model = unwrapped_model(runner)
    if not hasattr(model, 'distiller'):
        raise ConfigTypeError(
            f'{type(hook).__name__} requires a distillation, but the model is a {type(model).__name__}, '
            'which has no distiller: remove the hook from the config.'
        )
    return model.distiller
