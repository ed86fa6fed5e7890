"""Patch of the construction of optimizers for a distillation."""

from collections.abc import Callable
from typing import Any

from .patching import patch

# These constructors read no names of modules except as parts of `custom_keys`, which may begin with `architecture.`.
_WITHOUT_LAYER_NAMES = ('DefaultOptimWrapperConstructor', 'ForceDefaultOptimWrapperConstructor')


@patch(
    'mmengine.optim:DefaultOptimWrapperConstructor',
    '__call__',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='the constructors of mmdet, mmseg and mmpretrain with layer-wise rates do not recognize the layers of the student in a '
    'distillation, where their names begin with `architecture.`',
    until='mmrazor constructs the optimizer of a distillation from the student',
)
def mmengine_student_optimizer(original: Callable[..., Any]) -> Callable[..., Any]:
    """Construct an optimizer with layer-wise rates from a view of the distillation, in which the student has its own names."""

    def __call__(self: Any, model: Any) -> Any:  # noqa: N807  (replaces this method)
        from mmengine.model import is_model_wrapper

        model = model.module if is_model_wrapper(model) else model
        owner = next(cls for cls in type(self).__mro__ if 'add_params' in vars(cls))
        if hasattr(type(model), 'optimizer_view') and owner.__name__ not in _WITHOUT_LAYER_NAMES:
            model = model.optimizer_view()
        return original(self, model)

    return __call__
