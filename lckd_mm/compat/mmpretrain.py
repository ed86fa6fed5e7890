"""Patch of mmpretrain."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from .patching import patch


@patch(
    'mmpretrain.engine.hooks:PrepareProtoBeforeValLoopHook',
    'before_val',
    library='mmpretrain',
    versions='>=1.0,<2',
    issue='none known',
    reason='PrepareProtoBeforeValLoopHook does not update the prototypes of a retriever in a distillation, which is no BaseRetriever: '
    'the metrics are those of the first prototypes',
    until='mmpretrain recognizes the student of a distillation',
)
def mmpretrain_student_prototypes(original: Callable[..., Any]) -> Callable[..., Any]:
    """Update the prototypes of the student."""

    def before_val(self: Any, runner: Any) -> Any:
        model = getattr(runner.model, 'module', runner.model)
        if hasattr(model, 'distiller') and hasattr(model, 'architecture'):
            # The hook reads nothing but the model.
            runner = SimpleNamespace(model=model.architecture)
        return original(self, runner)

    return before_val
