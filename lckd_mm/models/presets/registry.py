"""The registry of presets, and what a preset returns."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lckd_mm.errors import ConfigTypeError, ConfigValueError, unknown_name

Config = dict[str, Any]


@dataclass(frozen=True)
class Expansion:
    """The recorders, connectors and losses of a distillation method.

    Attributes:
        losses (dict): Loss configs by the suffix of the name; the suffix '' stands for the name itself.
        records (dict): For each of the losses, the records of its arguments. ``'taps'`` as a ``recorder`` stands for all taps of the
            method, ``'logits'`` for the class scores; ``connector`` names an entry of ``connectors``.
        connectors (dict): Connector configs by suffix.
        student_recorders (dict): Further recorders of the student by suffix; a record names one as its ``recorder``.
    """

    losses: dict[str, Config]
    records: dict[str, dict[str, Config]]
    connectors: dict[str, Config] = field(default_factory=dict)
    student_recorders: dict[str, Config] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """A registered preset.

    Attributes:
        expand (Callable): Returns the expansion for given options.
        reads (str): ``'taps'`` for a method on feature maps, ``'logits'`` for a method on class scores.
    """

    expand: Callable[..., Expansion]
    reads: str

    @property
    def options(self) -> list[str]:
        """Names of the options."""
        return list(inspect.signature(self.expand).parameters)

    def check_option(self, method: str, name: str, value: Any) -> None:
        """Check an option against the annotation of its parameter, if that is a plain type.

        Args:
            method (str): Name of the method, for the message.
            name (str): Name of the option.
            value (Any): Its value.

        Raises:
            ConfigTypeError: The value has another type.
        """
        parameter = inspect.signature(self.expand).parameters[name]
        valid = _VALID_TYPES.get(parameter.annotation)
        if (
            valid is None
            or value == parameter.default
            or (isinstance(value, valid) and isinstance(value, bool) == (valid is bool))
        ):
            return
        raise ConfigTypeError(
            f'losses: {method}: {name}={value!r} is a {type(value).__name__}: give a {parameter.annotation.__name__}, '
            f'{parameter.default!r} for example.'
        )


_VALID_TYPES: dict[Any, Any] = {float: (int, float), int: int, bool: bool, str: str}
"""For the annotation of a parameter, the types of its values; other annotations are not checked."""

PRESETS: dict[str, Preset] = {}


def register_preset(name: str, reads: str = 'taps') -> Callable[[Callable[..., Expansion]], Callable[..., Expansion]]:
    """Register a function as the preset of a method.

    Args:
        name (str): Name of the method in ``losses``.
        reads (str): ``'taps'`` or ``'logits'``. Defaults to ``'taps'``.

    Raises:
        ConfigValueError: The name is taken, or ``reads`` is unknown.
    """
    if reads not in ('taps', 'logits'):
        raise ConfigValueError(unknown_name('register_preset: reads', reads, ('taps', 'logits')))
    if name in PRESETS:
        raise ConfigValueError(f'the preset {name!r} is registered already: choose another name.')

    def register(function: Callable[..., Expansion]) -> Callable[..., Expansion]:
        PRESETS[name] = Preset(function, reads)
        return function

    return register


def both(recorder: str, student: str, teacher: str, **options: Any) -> dict[str, Config]:
    """Return the records of a loss with one argument for each network.

    Args:
        recorder (str): ``'taps'`` or ``'logits'``.
        student (str): Name of the student's argument.
        teacher (str): Name of the teacher's argument.
        **options: Further options of both records.

    Example:
        >>> both('logits', 'preds_S', 'preds_T')['preds_T']
        {'recorder': 'logits', 'from_student': False}
    """
    sides = ((student, True), (teacher, False))
    return {argument: dict(recorder=recorder, from_student=is_student, **options) for argument, is_student in sides}
