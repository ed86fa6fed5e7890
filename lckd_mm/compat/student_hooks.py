"""Patches of the hooks of mmdet and mmpretrain that examine the modules or the class of the model in training."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .patching import patch


class _StudentRunner:
    """A Runner whose model is the student of a distillation."""

    def __init__(self, runner: Any, student: Any) -> None:
        self._runner = runner
        self.model = student

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)


def _call_with_student(original: Callable[..., Any]) -> Callable[..., Any]:
    """Call a method of a hook with a Runner whose model is the student, if the training is a distillation."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        runner = bound.arguments['runner']
        model = getattr(runner.model, 'module', runner.model)
        if hasattr(model, 'distiller') and hasattr(model, 'architecture'):
            bound.arguments['runner'] = _StudentRunner(runner, model.architecture)
        return original(*bound.args, **bound.kwargs)

    return call


@patch(
    'mmdet.engine.hooks:NumClassCheckHook',
    '_check_head',
    library='mmdet',
    versions='>=3.0,<4',
    issue='none known',
    reason='NumClassCheckHook refuses a distillation whose teacher has another number of classes than the data: it examines the heads '
    'of both networks',
    until='mmdet excludes the teacher of a distillation',
)
def mmdet_student_hooks(original: Callable[..., Any]) -> Callable[..., Any]:
    """Examine the student alone."""
    return _call_with_student(original)


@patch(
    'mmpretrain.engine.hooks:ClassNumCheckHook',
    '_check_head',
    library='mmpretrain',
    versions='>=1.0,<2',
    issue='none known',
    reason='ClassNumCheckHook refuses a distillation whose teacher has another number of classes than the data: it examines the heads '
    'of both networks',
    until='mmpretrain excludes the teacher of a distillation',
)
def mmpretrain_student_class_count(original: Callable[..., Any]) -> Callable[..., Any]:
    """Examine the student alone."""
    return _call_with_student(original)


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
    return _call_with_student(original)


@patch(
    'mmpretrain.engine.hooks:SwAVHook',
    ('before_run', 'before_train_iter', 'before_train_epoch', 'after_train_epoch'),
    library='mmpretrain',
    versions='>=1.0,<2',
    issue='none known',
    reason='SwAVHook unfreezes layers of the teacher in a distillation, since it selects layers by parts of their names',
    until='mmpretrain recognizes the student of a distillation',
)
def mmpretrain_student_swav(original: Callable[..., Any]) -> Callable[..., Any]:
    """Freeze and unfreeze layers of the student alone."""
    return _call_with_student(original)
