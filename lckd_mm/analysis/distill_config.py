"""The config that the verb ``distill`` writes: short, and in the form in which a person writes one."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lckd_mm.atomic_files import write_text
from lckd_mm.errors import ConfigValueError

from .distill_plan import Plan, model_source

_WIDTH = 110


class Code(str):
    """Python code in a config, such as a name."""


def write_config(plan: Plan, path: Path) -> str:
    """Write the config of a plan. A file that has the same content already is left as it is.

    Args:
        plan (Plan): The plan.
        path (Path): The file.

    Returns:
        str: The content.

    Raises:
        ConfigValueError: The file exists and has another content, which a person may have written.
    """
    base = _pure_python_base(plan, path)
    text = config_text(plan, path.parent, base)
    if base is not None:
        _write(
            base,
            f'# The text form of {plan.request.student}, since a config inherits only configs of its own form.\n{_text(plan)}',
        )
    _write(path, text)
    return text


def _pure_python_base(plan: Plan, path: Path) -> Path | None:
    """Return the file for the text form of a student's config in pure Python; None for a text config."""
    student = plan.request.student
    is_lazy = '::' not in student and Config._is_lazy_import(student)
    return path.with_name(f'{path.stem}_student.py') if is_lazy else None


def _text(plan: Plan) -> str:
    return f'{plan.student_cfg.pretty_text.strip()}\n'


def _write(path: Path, text: str) -> None:
    if path.is_file() and path.read_text() != text:
        raise ConfigValueError(
            f'{str(path)!r} exists and has another content: train it as it is by `python -m lckd_mm train {path}`, or delete it, or '
            'choose another name.'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def config_text(plan: Plan, folder: Path, student: Path | None = None) -> str:
    """Return the config of a plan.

    Args:
        plan (Plan): The plan.
        folder (Path): The folder of the file, to which the path of the student's config is relative.
        student (Path, optional): A config of the student with all overrides, which is inherited. Defaults to None, the config that the
            user named, whose overrides are added.

    Returns:
        str: The content of the file.
    """
    request = plan.request
    changes = {} if student is not None else recipe_changes(plan.student_cfg, request.student_options)
    base = [_base_path(str(student or request.student), folder), f'lckd_mm::_base_/distillers/{plan.block}.py']
    lines = [
        f'# {Path(request.teacher).stem} teaches {Path(request.student).stem}; written by `python -m lckd_mm distill`.',
        f'_base_ = {render(base)}',
        f'model = {render(_model(plan, is_complete=student is not None))}',
        f'default_hooks = {render(_hooks(plan))}',
        *(f'{key} = {render(value)}' for key, value in changes.items()),
    ]
    return '\n'.join([*lines, ''])


def _base_path(student: str, folder: Path) -> str:
    if '::' in student:
        return student
    path, here = Path(student).resolve(), Path.cwd()
    is_near = path.is_relative_to(here) and folder.resolve().is_relative_to(here)
    return os.path.relpath(path, folder.resolve()) if is_near else str(path)


def _model(plan: Plan, is_complete: bool) -> dict[Any, Any]:
    request = plan.request
    student = {} if is_complete else model_source(request.student, request.student_options)
    distiller: dict[Any, Any] = {Code('_base_.distillation.distiller'): ...}
    if plan.student_taps == plan.teacher_taps:
        distiller['taps'] = plan.student_taps
    else:
        distiller.update(student_taps=plan.student_taps, teacher_taps=plan.teacher_taps)
    if plan.losses:
        distiller['losses'] = {Code('_base_.distillation.distiller.losses'): ..., **plan.losses}
    return {
        Code('_base_.distillation'): ...,
        '_delete_': True,
        'architecture': student if 'cfg_options' in student else Code('_base_.model'),
        'teacher': model_source(request.teacher, request.teacher_options),
        'teacher_ckpt': request.checkpoint,
        'distiller': distiller,
    }


def _hooks(plan: Plan) -> Any:
    hooks = Code('_base_.distillation_hooks')
    return {hooks: ..., **plan.hooks} if plan.hooks else hooks


def recipe_changes(cfg: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the assignments of a config file that change what an inherited config defines, apart from its model.

    Args:
        cfg (Config): The inherited config with the changes.
        options (dict): The changes by dotted key.

    Returns:
        dict[str, Any]: Values by name. A list is repeated as a whole, since a file cannot change a part of an inherited list.

    Example:
        >>> cfg = Config(dict(train_cfg=dict(max_epochs=2), steps=[dict(end=2), dict(end=4)], seed=1))
        >>> recipe_changes(cfg, {'train_cfg.max_epochs': 2, 'steps.1.end': 4, 'seed': 1})
        {'train_cfg': {'max_epochs': 2}, 'steps': [{'end': 2}, {'end': 4}], 'seed': 1}
    """
    changes: dict[str, Any] = {}
    for key in options:
        first, *rest = key.split('.')
        if first == 'model':
            continue
        value, target, name = cfg[first], changes, first
        for part in rest:
            if not isinstance(value, Mapping):
                break
            target = target.setdefault(name, {})
            value, name = value[part], part
        target[name] = _plain(value, cfg.get('default_scope'))
    return changes


def _plain(value: Any, scope: str | None) -> Any:
    """Return a value without the scope that it has by default."""
    if isinstance(value, Mapping):
        items = {key: _plain(entry, scope) for key, entry in value.items()}
        return {key: entry for key, entry in items.items() if (key, entry) != ('_scope_', scope)}
    return type(value)(_plain(entry, scope) for entry in value) if isinstance(value, (list, tuple)) else value


def render(value: Any, indent: int = 0) -> str:
    """Return a value as Python code, on one line if it is short.

    Args:
        value (Any): Numbers, strings, lists, tuples and dicts; a :class:`Code` is not quoted. As a key with the value ``...``, it is a
            positional argument of ``dict``.
        indent (int): Number of spaces before the lines. Defaults to 0.

    Returns:
        str: The code.

    Example:
        >>> print(render({Code('_base_.hooks'): ..., 'monitor': None, 'steps': ['a', dict(end=2)]}))
        dict(_base_.hooks, monitor=None, steps=['a', dict(end=2)])
        >>> print(render(['x' * 60, 'y' * 60]))
        [
            'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
            'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy',
        ]
    """
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Mapping):
        opening, closing, items = _dict_parts(value, indent + 4)
    elif isinstance(value, (list, tuple)):
        opening, closing = '[]' if isinstance(value, list) else '()'
        items = [render(entry, indent + 4) for entry in value]
    else:
        return repr(value)
    line = f'{opening}{", ".join(items)}{"," if opening == "(" and len(items) == 1 else ""}{closing}'
    # Models and distillers are read from top to bottom.
    is_long = len(line) + indent > _WIDTH or '\n' in line or _is_expanded(value)
    return _lines(opening, items, closing, indent) if is_long else line


def _is_expanded(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and any(key in value for key in ('_delete_', 'taps', 'student_taps'))
        and len(value) > 1
    )


def _dict_parts(value: Mapping[Any, Any], indent: int) -> tuple[str, str, list[str]]:
    if all(isinstance(key, Code) or str(key).isidentifier() for key in value):
        items = [str(key) if entry is ... else f'{key}={render(entry, indent)}' for key, entry in value.items()]
        return 'dict(', ')', items
    return '{', '}', [f'{key!r}: {render(entry, indent)}' for key, entry in value.items()]


def _lines(opening: str, items: Sequence[str], closing: str, indent: int) -> str:
    space = ' ' * (indent + 4)
    return '\n'.join([opening, *(f'{space}{item},' for item in items), ' ' * indent + closing])
