from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def distiller_of(runner: Runner, hook: object) -> nn.Module:
    """The distiller of the model in training.

    Raises:
        TypeError: The model is no distillation.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not hasattr(model, 'distiller'):
        raise TypeError(
            f'{type(hook).__name__} got a {type(model).__name__}, which has no distiller: take it out of this config.'
        )
    return model.distiller
