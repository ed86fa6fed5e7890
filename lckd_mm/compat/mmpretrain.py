"""Patches of mmpretrain."""

import importlib
import importlib.util
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .patching import NumpyWith, patch

# What the multimodal models of mmpretrain import and transformers 5 lacks.
_TRANSFORMERS_NAMES = ('apply_chunking_to_forward', 'find_pruneable_heads_and_indices', 'GenerationMixin')


def _lacks_names_of_transformers() -> bool:
    if importlib.util.find_spec('transformers') is None:
        return False
    try:
        module = importlib.import_module('transformers.modeling_utils')
    except ImportError:
        return True
    return not all(hasattr(module, name) for name in _TRANSFORMERS_NAMES)


@patch(
    library='mmpretrain',
    versions='>=1.0,<2',
    issue='none known',
    reason="mmpretrain, and mmdet with it, cannot be imported beside a current transformers: 'TypeError: NoneType takes no arguments'; "
    'its multimodal models import names that transformers removed',
    until='mmpretrain supports transformers 5',
    is_needed=_lacks_names_of_transformers,
)
def mmpretrain_transformers() -> None:
    """Register the placeholders of the multimodal models, as without transformers; they raise an error when they are built."""
    dependency: Any = importlib.import_module('mmpretrain.utils.dependency')
    dependency.WITH_MULTIMODAL = False


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
            runner = types.SimpleNamespace(model=model.architecture)
        return original(self, runner)

    return before_val


@patch(
    'mmpretrain.evaluation.metrics.retrieval',
    'np',
    library='mmpretrain',
    versions='>=1.0,<2',
    onedl='',
    issue='none known',
    reason="RetrievalRecall and RetrievalAveragePrecision fail: module 'numpy' has no attribute 'in1d', which numpy 2.4 removed",
    until='mmpretrain uses numpy.isin',
    is_needed=lambda: not hasattr(np, 'in1d'),
)
def mmpretrain_retrieval(_: types.ModuleType) -> types.ModuleType:
    """Let ``np.in1d`` be ``np.isin`` of flat arrays."""
    return NumpyWith(in1d=lambda values, others: np.isin(np.ravel(values), others))
