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
    'distillation, where their names begin with `architecture.`; the frozen teacher is passed to the optimizer',
    until='mmrazor constructs the optimizer of a distillation from the student',
)
def mmengine_student_optimizer(original: Callable[..., Any]) -> Callable[..., Any]:
    """Construct the optimizer of a distillation from a view of it that contains what is trained."""

    def __call__(self: Any, model: Any) -> Any:  # noqa: N807  (replaces this method)
        from mmengine.model import is_model_wrapper

        model = model.module if is_model_wrapper(model) else model
        view = getattr(type(model), 'optimizer_view', None)
        if view is None:
            return original(self, model)
        owner = next(cls for cls in type(self).__mro__ if 'add_params' in vars(cls))
        return original(self, view(model, as_student=owner.__name__ not in _WITHOUT_LAYER_NAMES))

    return __call__
