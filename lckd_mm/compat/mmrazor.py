"""Patches of mmrazor."""

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

from ..errors import ConfigValueError
from .patching import patch

# Modules that mmrazor imports and that may depend on the version of torch: they are imported before it. They include the
# modules by which the OpenMMLab packages register their classes.
_IMPORTED_BY_MMRAZOR = (
    'mmcv.cnn',
    'mmcv.ops',
    'mmcv.transforms',
    'mmengine.hub',
    'mmengine.runner',
    'mmengine.visualization',
    *(
        f'{package}.{part}'
        for package in ('mmdet', 'mmseg', 'mmpretrain')
        for part in ('datasets', 'engine', 'evaluation', 'models', 'structures', 'visualization')
    ),
    'torch.ao.quantization.quantize_fx',
    'torch.fx',
    'torch.nn.quantized._reference',
    'torch.utils.tensorboard',
)

# The parts of mmrazor that register classes, or that those import later.
_PARTS = ('datasets', 'engine', 'implementations', 'models', 'registry', 'structures', 'utils', 'visualization')


@patch(
    library='mmrazor',
    versions='<=1.0.0',
    issue='open-mmlab/mmrazor#632',
    reason='mmrazor cannot be imported: with torch 1.13 or newer it imports names of torch.ao.quantization that torch 2 removed',
    until='an mmrazor after 1.0.0 supports torch 2',
)
def mmrazor_import() -> None:
    """Import mmrazor completely while torch reports version 1.12.0, for which mmrazor uses placeholders of these names.

    The distillation half of mmrazor does not use them. Nothing else is imported meanwhile. mmcv reports the newest version that mmrazor
    accepts, 2.1.0; that of the stack onedl is newer.
    """
    import mmcv

    for name in _IMPORTED_BY_MMRAZOR:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    with _reported_version(torch, '1.12.0'), _reported_version(mmcv, '2.1.0'), warnings.catch_warnings():
        # Python 3.12 and newer warn about escape sequences in mmrazor's docstrings.
        warnings.simplefilter('ignore', SyntaxWarning)
        for part in _PARTS:
            importlib.import_module(f'mmrazor.{part}')


@contextlib.contextmanager
def _reported_version(module: ModuleType, version: str) -> Iterator[None]:
    """Let ``__version__`` of a module be another version within the context."""
    actual = module.__version__
    module.__version__ = type(actual)(version)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.__version__ = actual  # type: ignore[attr-defined]


@patch(
    'mmrazor.engine.runner.distill_val_loop:SingleTeacherDistillValLoop',
    '__init__',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason="SingleTeacherDistillValLoop gives the teacher the student's data preprocessor: with another normalization than its own the "
    'teacher is evaluated on pixels that it was not trained on',
    until='an mmrazor after 1.0.0 keeps the data preprocessor of the teacher',
)
def mmrazor_val_loop_preprocessor(original: Callable[..., None]) -> Callable[..., None]:
    """Keep the teacher's own data preprocessor, except for a plain ``BaseDataPreprocessor``, which handles no images."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  (replaces this method)
        from mmengine.model import BaseDataPreprocessor

        runner = args[0] if args else kwargs['runner']
        teacher = getattr(runner.model, 'module', runner.model).teacher
        own = teacher.data_preprocessor
        original(self, *args, **kwargs)
        if type(own) is not BaseDataPreprocessor:
            teacher.data_preprocessor = own

    return __init__


@patch(
    'mmrazor.engine.runner.distill_val_loop:SingleTeacherDistillValLoop',
    'run',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason='SingleTeacherDistillValLoop calls the hooks before_val_epoch twice and after_val_epoch once: EMAHook swaps the weights twice '
    'and back once, so that the training continues with averaged weights',
    until='an mmrazor after 1.0.0 calls both once',
)
def mmrazor_val_loop_hooks(_: Callable[..., None]) -> Callable[..., dict[str, float]]:
    """Evaluate student and teacher between one call of ``before_val_epoch`` and one of ``after_val_epoch``."""

    def run(self: Any) -> dict[str, float]:
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        self.val_loss.clear()
        metrics: dict[str, float] = {}
        for prefix, run_iter in (('', self.run_iter), ('teacher.', self.run_iter_teacher)):
            for idx, data_batch in enumerate(self.dataloader):
                run_iter(idx, data_batch)
            result = self.evaluator.evaluate(len(self.dataloader.dataset))
            metrics.update({prefix + key: value for key, value in result.items()})
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    return run


# What this package and mmrazor log about a distillation, without the mode.
_DISTILLATION_SCALARS = ('distill.', 'lipschitz/', 'weight_', 'share_')


@patch(
    'mmrazor.engine.hooks:StopDistillHook',
    'before_train_epoch',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason='after StopDistillHook has stopped a distillation, its last losses and spectral norms are logged in each iteration',
    until='StopDistillHook removes the losses of the distillation from the log',
)
def mmrazor_stopped_scalars(original: Callable[..., None]) -> Callable[..., None]:
    """Remove what describes the distillation from the log when it is stopped."""

    def before_train_epoch(self: Any, runner: Any) -> None:
        original(self, runner)
        scalars = runner.message_hub.log_scalars
        # A mock of a Runner has no scalars.
        if runner.epoch < self.stop_epoch or not isinstance(scalars, dict):
            return
        for name in [name for name in scalars if name.partition('/')[2].startswith(_DISTILLATION_SCALARS)]:
            del scalars[name]

    return before_train_epoch


@patch(
    'mmrazor.engine.hooks:StopDistillHook',
    'before_train',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason='StopDistillHook fails in the epoch in which it stops a distillation, after hours, if no loss of the student remains; in a '
    'training that counts iterations it never stops the distillation',
    until='StopDistillHook checks the model and the loop before training',
)
def mmrazor_stop_check(_: Callable[..., None]) -> Callable[..., None]:
    """Report before training that no loss of the student remains, or that the hook would never act."""

    def before_train(self: Any, runner: Any) -> None:
        from mmengine.runner import IterBasedTrainLoop

        if isinstance(runner.train_loop, IterBasedTrainLoop) and self.stop_epoch > 0:
            raise ConfigValueError(
                f'StopDistillHook: stop_epoch={self.stop_epoch} counts epochs, but the training counts iterations, so that the '
                'distillation would never stop: use LossWeightSchedulerHook with end_weight=0 and begin as a fraction of the training, '
                'or an EpochBasedTrainLoop.'
            )
        model = getattr(runner.model, 'module', runner.model)
        if not getattr(model, 'calculate_student_loss', True):
            raise ConfigValueError(
                f'StopDistillHook stops the distillation after epoch {self.stop_epoch}, but calculate_student_loss=False leaves no loss '
                'of the student: set calculate_student_loss=True, or remove the hook.'
            )

    return before_train


@patch(
    'mmrazor.models.algorithms.base:BaseAlgorithm',
    'set_module_inplace_false',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason='in-place activations overwrite the outputs that MMRazor records: it searches for them in submodules of type OrderedDict, which '
    'torch 2.5 made a dict, and finds none',
    until='mmrazor searches with `modules()`',
)
def mmrazor_inplace(_: Callable[..., None]) -> Callable[..., None]:
    """Let all modules of an architecture compute out of place."""

    def set_module_inplace_false(self: Any, architecture: Any, varstr: str) -> None:
        for module in architecture.modules():
            if hasattr(module, 'inplace'):
                module.inplace = False

    return set_module_inplace_false


@patch(
    'mmrazor.models.architectures.generators.base_generator:BaseGenerator',
    'module',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason="data-free distillation fails without a launcher, 'DAFLGenerator' object has no attribute 'module': it reads the attributes "
    'of the generator from inside the wrapper of a distributed training',
    until='mmrazor reads them from a generator without a wrapper as well',
)
def mmrazor_generator(_: Any) -> property:
    """Let ``generator.module`` be the generator itself."""
    return property(lambda self: self)


@patch(
    'mmrazor.models.architectures.heads.deit_head:DeiTClsHead',
    'pre_logits',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason="mmrazor.DeiTClsHead fails, 'not enough values to unpack': mmcls passed patch, class and distillation tokens to the head, "
    'mmpretrain passes the last two',
    until='an mmrazor after 1.0.0 supports mmpretrain',
)
def mmrazor_deit_head(original: Callable[..., Any]) -> Callable[..., Any]:
    """Insert an empty place for the patch tokens, which the head does not use."""

    def pre_logits(self: Any, feats: list[Any]) -> Any:
        tokens = feats[-1]
        return original(self, [(None, *tokens)] if len(tokens) == 2 else feats)

    return pre_logits


@patch(
    'mmrazor.datasets.transforms.formatting:PackCRDClsInputs',
    'transform',
    library='mmrazor',
    versions='<=1.0.0',
    issue='none known',
    reason='PackCRDClsInputs packs meta information, such as the path of the image, only for the first image of each process: it replaces '
    'its keys by a generator that the first image exhausts',
    until='an mmrazor after 1.0.0 keeps its keys',
)
def mmrazor_crd_inputs(original: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the keys."""

    def transform(self: Any, results: dict[str, Any]) -> Any:
        keys = tuple(self.meta_keys)
        try:
            return original(self, results)
        finally:
            self.meta_keys = keys

    return transform
