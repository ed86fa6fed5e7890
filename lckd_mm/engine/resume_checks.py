"""Checks that a checkpoint is one of the training that is resumed, and the sentence that says what differs."""

import ast
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.state_dicts import is_observed

# What determines the parameters and the losses of a training. Schedules and hooks may be changed, for a longer training for example.
_SETTINGS = (
    *(
        f'model.distiller.{name}'
        for name in ('taps', 'student_taps', 'teacher_taps', 'adapters', 'losses', 'connectors')
    ),
    *('model.architecture', 'model.teacher', 'model.backbone', 'model.neck', 'model.head'),
    *('optim_wrapper.optimizer.type', 'optim_wrapper.paramwise_cfg', 'optim_wrapper.constructor'),
)


def check_resumed_training(
    runner: Runner, model: nn.Module, checkpoint: Mapping[str, Any], state: Mapping[str, Any], path: str
) -> None:
    """Compare model, optimizer and config with those of the checkpoint, before anything is loaded.

    Args:
        runner (Runner): The runner, with its optimizer.
        model (nn.Module): Its model, without wrappers.
        checkpoint (Mapping[str, Any]): The content of the file.
        state (Mapping[str, Any]): Its state dict, with the keys of the model.
        path (str): The file, for the message.

    Raises:
        ConfigValueError: The parameters have other names or shapes, or the optimizer is another one or has other groups of parameters.
    """
    settings = list(_changed_settings(checkpoint['meta'].get('cfg'), runner.cfg.pretty_text))
    is_other_optimizer = any(setting.startswith('optim_wrapper.optimizer.type ') for setting in settings)
    only_in_model, only_in_file, shapes = _tensor_differences(model, state)
    groups = _group_difference(runner.optim_wrapper.state_dict(), checkpoint.get('optimizer'))
    if not (only_in_model or shapes or groups or is_other_optimizer):
        if settings:
            print_log(
                f'The training of {path} is resumed with other settings: {"; ".join(settings)}.',
                logger='current',
                level=logging.WARNING,
            )
        return
    # Only in the file are also buffers that are created in training, which make no difference alone.
    differences = [
        *shapes,
        *(f'{name} is only in the model' for name in _modules(only_in_model)),
        *(f'{name} is only in the file' for name in _modules(only_in_file)),
        *([groups] if groups else []),
    ]
    listed = '; '.join([*differences[:4], *(['...'] if len(differences) > 4 else []), *settings])
    raise ConfigValueError(
        f'{path!r} cannot resume this training, which was changed: {listed}; use the config of the interrupted training, or start a new '
        f'one from its weights, in another work directory, with load_from={path!r} and without resume.'
    )


def _tensor_differences(model: nn.Module, state: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Return the trainable parameters that are only in the model, the tensors only in the file, and sentences on other shapes."""
    own = model.state_dict()
    buffers = {name for name, _ in model.named_buffers()}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    file = {key: value for key, value in state.items() if isinstance(value, Tensor) and is_observed(key)}
    keys = [key for key in own if is_observed(key) and key not in buffers and key not in frozen]
    shapes = [
        f'{key} is {tuple(file[key].shape)} in the file and {tuple(own[key].shape)} in the model'
        for key in keys
        if key in file and file[key].shape != own[key].shape
    ]
    return [key for key in keys if key not in file], [key for key in file if key not in own], shapes


def _modules(keys: list[str]) -> list[str]:
    """Return the modules of parameters, ``distiller.connectors.adapter`` for example."""
    return list(dict.fromkeys('.'.join(key.split('.')[:3]) for key in keys))


def _group_difference(own: Mapping[str, Any], file: Mapping[str, Any] | None) -> str | None:
    """Return the sentence for other groups of parameters in the optimizer; None if they are the same."""
    if file is None:
        return None
    if 'param_groups' not in own:
        # One optimizer for each of several parts of the model.
        names = [name for name, value in own.items() if isinstance(value, Mapping) and 'param_groups' in value]
        found = (
            _group_difference(own[name], file[name]) if name in file else f'optimizer {name!r} is new' for name in names
        )
        return next((sentence for sentence in found if sentence), None)
    sizes = [[len(group['params']) for group in each.get('param_groups', ())] for each in (file, own)]
    if sizes[0] == sizes[1]:
        return None
    counts = [f'{sum(each)} parameters in {len(each)} group{"s" if len(each) > 1 else ""}' for each in sizes]
    return f'the optimizer has {counts[0]} in the file, and {counts[1]} in this training'


def _changed_settings(file: str | None, own: str) -> Iterator[str]:
    """Yield the settings that differ between two configs."""
    configs = [_parse_config(text or '') for text in (file, own)]
    if not all(configs):
        return
    for setting in _SETTINGS:
        before, now = (_get(config, setting) for config in configs)
        if before != now:
            short = [text if len(text := repr(value)) <= 100 else f'{text[:100]}...' for value in (before, now)]
            yield f'{setting} was {short[0]} and is {short[1]}'


def _get(config: Any, name: str) -> Any:
    for part in name.split('.'):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def _parse_config(text: str) -> dict[str, Any]:
    """Return the variables of a config that mmengine has dumped; it is parsed, not executed, since it is from a file."""
    variables = {}
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                variables[statement.targets[0].id] = _value(statement.value)
    except (SyntaxError, ValueError):
        return {}
    return variables


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {ast.unparse(key) if key else None: _value(value) for key, value in zip(node.keys, node.values)}
    return ast.unparse(node) if not isinstance(node, ast.Constant) else node.value
