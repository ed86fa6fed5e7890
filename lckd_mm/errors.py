"""The exceptions of a wrong configuration, and the sentence that names an unknown value.

Everything that a user can correct in a config, a checkpoint, a data set or a command line is raised as a :class:`ConfigError`. The
command line tools end with its message alone and exit status 2; see :func:`lckd_mm.cli.entry.run_verb`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    'CheckpointError',
    'ConfigError',
    'ConfigFileNotFoundError',
    'ConfigKeyError',
    'ConfigRuntimeError',
    'ConfigTypeError',
    'ConfigValueError',
    'FileWriteError',
    'UnreadableCheckpointError',
    'UnsafeCheckpointError',
    'check_number',
    'config_error_class',
    'unknown_name',
]


class ConfigError(Exception):
    """Base class of all errors that a user corrects: the message is one sentence with the wrong value, the valid ones and the fix."""


class ConfigValueError(ConfigError, ValueError):
    """An option has a value that is not valid."""


class ConfigTypeError(ConfigError, TypeError):
    """An option has a value of a wrong type."""


class ConfigKeyError(ConfigError, KeyError):
    """An option or a name does not exist."""

    # `KeyError.__str__` shows the repr of the message.
    __str__ = Exception.__str__


class ConfigFileNotFoundError(ConfigError, FileNotFoundError):
    """A file or folder that a configuration names does not exist."""


class FileWriteError(ConfigError, OSError):
    """A file cannot be written, since its disk is full for example."""


class ConfigRuntimeError(ConfigError, RuntimeError):
    """A training that was configured wrongly, noticed while it runs."""


class CheckpointError(ConfigError, RuntimeError):
    """A checkpoint cannot be used."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint requests something that is not data, a function call for example."""


class UnreadableCheckpointError(CheckpointError):
    """A file is damaged or is not a checkpoint."""


_CLASSES: dict[type[Exception], type[ConfigError]] = {
    KeyError: ConfigKeyError,
    TypeError: ConfigTypeError,
    ValueError: ConfigValueError,
    RuntimeError: ConfigRuntimeError,
}


def config_error_class(kind: type[Exception]) -> type[ConfigError]:
    """Return a class of configuration errors that ``except`` clauses for another class catch as well.

    Args:
        kind (type): The class of an error that another package raises.

    Returns:
        type: A subclass of both; if the other class does not take a message alone, of its first base class that does.

    Example:
        >>> issubclass(config_error_class(AssertionError), AssertionError), config_error_class(ValueError).__name__
        (True, 'ConfigValueError')
    """
    if kind not in _CLASSES:
        # The constructors of some classes have other arguments, that of JSONDecodeError for example.
        base = next(each for each in kind.__mro__ if _takes_a_message(each))
        if base not in _CLASSES:
            _CLASSES[base] = type(f'Config{base.__name__}', (ConfigError, base), {'__str__': Exception.__str__})
        _CLASSES[kind] = _CLASSES[base]
    return _CLASSES[kind]


def _takes_a_message(kind: type[Exception]) -> bool:
    try:
        kind('message')
    except Exception:
        return False
    return True


def check_number(owner: str, name: str, value: object, minimum: float = 0, is_open: bool = False) -> None:
    """Check that an option is a number of at least a minimum.

    Args:
        owner (str): What has the option, for the message.
        name (str): Name of the option.
        value (object): Its value.
        minimum (float): The smallest valid value. Defaults to 0.
        is_open (bool): Whether the minimum itself is not valid. Defaults to False.

    Raises:
        ConfigTypeError: The value is no number.
        ConfigValueError: It is too small, or NaN.

    Example:
        >>> check_number('LipschitzLoss', 'loss_weight', 'high')
        Traceback (most recent call last):
        ...
        lckd_mm.errors.ConfigTypeError: LipschitzLoss: loss_weight='high' is a str: use 0 or more.
    """
    valid = f'a number greater than {minimum:g}' if is_open else f'{minimum:g} or more'
    # Tensors and numpy's numbers are no `numbers.Real`, but are converted.
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, '__float__'):
        raise ConfigTypeError(f'{owner}: {name}={value!r} is a {type(value).__name__}: use {valid}.')
    number = float(value)
    if not (number > minimum if is_open else number >= minimum):
        problem = 'is negative' if number < 0 else 'is not valid'
        raise ConfigValueError(f'{owner}: {name}={value!r} {problem}: use {valid}.')


def unknown_name(what: str, name: object, valid: Iterable[str], max_listed: int = 12) -> str:
    """Return the sentence for an unknown name, with the valid names and a suggestion.

    Args:
        what (str): What the name is for, ``'method'`` for example.
        name (object): The unknown name.
        valid (Iterable[str]): The valid names.
        max_listed (int): If there are more valid names than this, only similar names are listed. Defaults to 12.

    Returns:
        str: One sentence.

    Example:
        >>> unknown_name('distance', 'mae', ['mse', 'relative', 'log'])
        "distance 'mae' is unknown; valid: 'mse', 'relative', 'log'; did you mean 'mse'?"
    """
    valid = list(valid)
    is_short = len(valid) <= max_listed
    # Upper and lower case are not distinguished: 'TRAIN' resembles 'train'.
    lower = {each.lower(): each for each in valid}
    matches = difflib.get_close_matches(str(name).lower(), lower, n=1 if is_short else 5, cutoff=0.5)
    similar = [lower[match] for match in matches]
    sentence = f'{what} {name!r} is unknown'
    if is_short:
        sentence += f'; valid: {", ".join(map(repr, valid)) or "none"}'
    return f'{sentence}; did you mean {" or ".join(map(repr, similar))}?' if similar else f'{sentence}.'
