import logging
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import nn

from lckd_mm.engine.distillation import unwrapped_model
from lckd_mm.engine.loaded_tensors import LoadedTensors, list_keys
from lckd_mm.engine.resume_checks import check_resumed_training
from lckd_mm.errors import ConfigValueError
from lckd_mm.latest_checkpoint import find_latest_checkpoint
from lckd_mm.state_dicts import TensorWrites, has_student, match_student, rename_keys, unwrap_keys


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Load the student from both kinds of checkpoints, and reject a checkpoint that does not match the model.

    A distillation loads the weights of a student alone into its student. A student alone loads the student's part of a
    distillation. This includes the averaged weights of an ``EMAHook``.

    Without this hook, mmengine logs the names that do not match, and continues with random weights.

    If a part of the model is not loaded, a warning lists it. This is intended for a pretrained backbone, for example.

    Raises:
        ConfigValueError: No weight of the model is loaded. A training is resumed from a checkpoint that is not one of this
            training: of a student alone instead of a distillation or the reverse, without the state of the training, with other taps,
            adapters or classes, or of another optimizer.

    Example:
        >>> CheckpointMatchHook().priority
        'VERY_HIGH'
    """

    # Before EMAHook loads the averaged weights.
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rename the keys of the student, and compare model and checkpoint as soon as the model is loaded.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): The content of the file, which is changed.

        Raises:
            ConfigValueError: The checkpoint is not one of the training that is resumed.
        """
        path = _checkpoint_path(runner)
        model: nn.Module = unwrapped_model(runner)
        if isinstance(model, BaseTTAModel):
            model = model.module
        state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
        if not isinstance(state, Mapping):
            raise ConfigValueError(f'{path!r} contains no state dict: give a checkpoint of the model.')
        matched = match_student(state, model)
        is_converted = has_student(matched) != has_student(unwrap_keys(state))
        if runner._resume:
            _check_training_state(checkpoint, path, is_converted, has_student(model.state_dict()))
            check_resumed_training(runner, model, checkpoint, matched, path)
        # EMAHook and mmengine read the state dict under this key; a file may contain the state dict alone.
        checkpoint['state_dict'] = rename_keys(matched, str) if matched is checkpoint else matched
        if is_converted and 'ema_state_dict' in checkpoint:
            checkpoint['ema_state_dict'] = _match_averages(checkpoint['ema_state_dict'], model)
        kind = ' (a checkpoint of {})'.format('the student alone' if has_student(matched) else 'a distillation')
        writes, is_resumed = TensorWrites(model), bool(runner._resume)

        def check(*_: Any) -> None:
            handle.remove()
            _check_loaded(
                writes, LoadedTensors(writes, matched, model), model, path, kind if is_converted else '', is_resumed
            )

        # mmengine calls it when the model is loaded, before it loads the state of the optimizer.
        handle = model.register_load_state_dict_post_hook(check)


def _checkpoint_path(runner: Runner) -> str:
    path = runner._load_from
    if path is None and runner._resume:
        # The Runner has logged the damaged files.
        path = find_latest_checkpoint(runner.work_dir, is_logged=False)
    return str(path or 'the checkpoint')


def _match_averages(averages: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Return the state dict of an EMA model with the keys of the student that the model expects."""
    prefix = 'module.'
    weights = rename_keys(averages, lambda key: key.removeprefix(prefix) if key.startswith(prefix) else None)
    matched = rename_keys(match_student(weights, model), lambda key: prefix + key)
    # The number of updates, `steps`, belongs to no model.
    matched.update({key: value for key, value in averages.items() if not key.startswith(prefix)})
    return matched


def _check_training_state(checkpoint: dict, path: str, is_converted: bool, is_distillation: bool) -> None:
    fix = f'start a new training from its weights, with load_from={path!r} and without resume'
    if is_converted:
        kinds = ('a model alone', 'a distillation') if is_distillation else ('a distillation', 'a model alone')
        raise ConfigValueError(
            f'{path!r} is a checkpoint of {kinds[0]}, and cannot resume the training of {kinds[1]}, whose optimizer has other '
            f'parameters: {fix}.'
        )
    missing = [name for name in ('meta', 'message_hub') if name not in checkpoint]
    missing += [f'meta.{name}' for name in ('epoch', 'iter') if name not in checkpoint.get('meta', (name,))]
    if missing:
        raise ConfigValueError(
            f'{path!r} contains no state of a training ({", ".join(missing)} missing), and cannot resume one: {fix}.'
        )


def _check_loaded(
    writes: TensorWrites, loaded: LoadedTensors, model: nn.Module, path: str, kind: str, is_resumed: bool
) -> None:
    """Raise an error or log a warning if a part of the model is not loaded."""
    if loaded.is_nothing:
        reason = loaded.mismatch or f'and the file contains {loaded.content}'
        raise ConfigValueError(
            f'{path!r} does not match the model: {loaded.counts} are loaded, {reason}; {_fix(loaded, path)}.'
        )
    if is_resumed:
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        absent = [key for key in writes.untouched() if key in trainable]
        if absent:
            raise ConfigValueError(
                f'{path!r} cannot resume this training: {list_keys(absent)} of the parameters in training are missing in the file or have '
                f'another shape; use the config of the interrupted training, or load_from={path!r} without resume.'
            )
    if loaded.is_complete:
        print_log(f'Loaded {loaded.counts} from {path}{kind}.', logger='current')
        return
    hint = f'; {_fix(loaded, path)}' if loaded.is_teacher else ''
    print_log(
        f'Loaded only {loaded.counts} from {path}{kind}; the others keep their initial values: {loaded.differences}{hint}.',
        logger='current',
        level=logging.WARNING,
    )


def _fix(loaded: LoadedTensors, path: str) -> str:
    if loaded.content == 'no tensors':
        return "give a file that is a state dict, or has one under the key 'state_dict'"
    if loaded.is_teacher:
        return 'it is a checkpoint of the teacher: give it as model.teacher_ckpt'
    part = loaded.part()
    if part is not None:
        return f"it is a checkpoint of {part} alone: set model.{part}.init_cfg=dict(type='Pretrained', checkpoint={path!r}) instead"
    return 'give a checkpoint of this model, or use the config that it was trained with (number of classes, depth)'
