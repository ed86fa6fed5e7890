"""A patch of the errors that mmengine's registries raise for wrong configs."""

import inspect
import json
import re
import types
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import ParseError

from ..errors import (
    ConfigError,
    ConfigFileNotFoundError,
    ConfigKeyError,
    ConfigTypeError,
    ConfigValueError,
    config_error_class,
    unknown_name,
)
from .error_origin import failed_condition, frames_of, is_argument_check
from .patching import patch

_UNKNOWN_TYPE = re.compile(r'^(\S+) is not in the (.+?) registry')
_UNEXPECTED = re.compile(r"^([\w.<>]+)\(\) got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r'^([\w.<>]+)\(\) missing \d+ required (?:positional|keyword-only) arguments?: (.+)$')
# What malformed annotations raise; other errors are taken for mistakes in the code of the data set.
_DATA_ERRORS = (OSError, ParseError, ValueError, KeyError, IndexError)
# Options of a data set that name its files.
_FILE_OPTIONS = ('ann_file', 'data_root', 'data_prefix')


@patch(
    ('mmengine.runner:Runner',),
    (
        *(
            'build_train_loop',
            'build_val_loop',
            'build_test_loop',
            'build_dataloader',
            'build_optim_wrapper',
            'build_param_scheduler',
        ),
        *('build_evaluator', '__init__'),
    ),
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a config whose values the Runner rejects ends in a traceback, although the last line would be sufficient',
    until='mmengine raises such errors as a class of their own',
)
def mmengine_runner_errors(original: Callable[..., Any]) -> Callable[..., Any]:
    """Raise configuration errors for the checks of the Runner; all other errors are raised unchanged."""

    def build(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except ConfigError:
            raise
        except Exception as error:
            if not is_argument_check(error):
                raise
            reason = _message(error).rstrip('.') or failed_condition(error)
            raise config_error_class(type(error))(
                f'the Runner rejects the config: {reason}; correct it in the config.'
            ) from error

    return build


@patch(
    'mmengine.registry:Registry',
    'build',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a config with an unknown type, an unknown option or an invalid value ends in a traceback whose last line names neither the '
    'entry of the config nor the valid values',
    until='mmengine raises such errors as a class of their own, with the entry of the config',
)
def mmengine_build_errors(original: Callable[..., Any]) -> Callable[..., Any]:
    """Raise configuration errors for what the config causes; all other errors are raised unchanged."""

    def build(self: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, cfg, *args, **kwargs)
        except ConfigError:
            raise
        except Exception as error:
            config_error = _config_error(self, cfg, error)
            if config_error is None:
                raise
            raise config_error from error

    return build


def _config_error(registry: Any, cfg: Any, error: Exception) -> ConfigError | None:
    message = _message(error)
    unknown = _UNKNOWN_TYPE.match(message)
    if isinstance(error, KeyError) and unknown:
        return ConfigKeyError(_unknown_type(registry, unknown[1], unknown[2]))
    if not isinstance(cfg, dict):
        return None
    if isinstance(error, KeyError) and 'must contain the key "type"' in message:
        return ConfigKeyError(f'the {registry.name} {_shortened(cfg)} has no `type`: add the name of its class.')
    kind = _class_of(registry, cfg)
    if kind is None:
        return None
    if isinstance(error, TypeError):
        sentence = _wrong_arguments(kind, message)
        if sentence:
            return ConfigTypeError(sentence)
    if registry.name == 'dataset' and (isinstance(error, _DATA_ERRORS) or is_argument_check(error)):
        return _data_error(kind, cfg, error, message)
    if is_argument_check(error):
        options = ', '.join(f'{key}={value!r}' for key, value in _scalars(cfg))
        return config_error_class(type(error))(
            f'{kind.__name__}({options}) rejects its options: {message.rstrip(".") or failed_condition(error)}; correct them in the config.'
        )
    return None


def _message(error: Exception) -> str:
    message = error.args[0] if error.args and isinstance(error, KeyError) else error
    return ' '.join(str(message).split())


def _unknown_type(registry: Any, name: str, place: str) -> str:
    """Return the sentence for a type that no registry has, or one of another scope."""
    root = registry.root
    others = {scope: child.module_dict for scope, child in root.children.items()}
    scopes = sorted(scope for scope, known in others.items() if name in known)
    prefix = f'type {name!r}: {name} is not in the {place} registry'
    if scopes:
        return f"{prefix}, but in that of {' and '.join(scopes)}: set default_scope={scopes[0]!r}, or write '{scopes[0]}.{name}'."
    scope = place.partition('::')[0]
    valid = [*root.module_dict, *others.get(scope, {})]
    suggestion = unknown_name('type', name.rpartition('.')[2], valid, max_listed=0).partition('; ')[2]
    return f'{prefix}; {suggestion or "correct its name, or name the module that registers it in custom_imports."}'


def _class_of(registry: Any, cfg: dict) -> type | None:
    kind = cfg.get('type')
    if isinstance(kind, str):
        with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
            kind = scoped.get(kind)
    return kind if inspect.isclass(kind) else None


def _wrong_arguments(kind: type, message: str) -> str:
    """Return the sentence for an unknown or a missing option of a class, empty if the message is about something else."""
    unexpected, missing = _UNEXPECTED.match(message), _MISSING.match(message)
    match = unexpected or missing
    constructors = [init for base in kind.__mro__ if inspect.isfunction(init := vars(base).get('__init__'))]
    # Functions raise the same messages.
    if match is None or match[1] not in {init.__qualname__ for init in constructors}:
        return ''
    if missing:
        return f'{kind.__name__} needs the option {missing[2]}: add it to its config.'
    options = [
        name
        for init in constructors
        for name, parameter in list(inspect.signature(init).parameters.items())[1:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return unknown_name(f'the option of {kind.__name__}', match[2], dict.fromkeys(options))


def _data_error(kind: type, cfg: dict, error: Exception, message: str) -> ConfigError:
    files = ', '.join(f'{name}={cfg[name]!r}' for name in _FILE_OPTIONS if cfg.get(name))
    file = next((value for frame in frames_of(error) if (value := _annotation_file(frame))), None)
    if isinstance(error, FileNotFoundError):
        path = error.filename or message
        return ConfigFileNotFoundError(
            f'the data set {kind.__name__}({files}) needs the file {str(path)!r}, which does not exist: correct these options, or add it.'
        )
    if 'need at least one array to concatenate' in message:
        # mmengine's BaseDataset serializes the list of images in one array.
        return ConfigValueError(
            f'the data set {kind.__name__}({files}) has no images: name a list with images, and check that filter_cfg and the class names '
            '(metainfo) do not exclude all of them.'
        )
    reason = message if isinstance(error, AssertionError | OSError) else f'{type(error).__name__}: {message}'
    return ConfigValueError(
        f'the data set {kind.__name__}({files}) cannot be read{f" from {file!r}" if file else ""} ({reason.rstrip(".")}): '
        'correct the file, or these options.'
    )


def _annotation_file(frame: types.FrameType) -> str | None:
    """Return the annotation file of one image, which the readers of XML files have in the variable `img_info`."""
    info = frame.f_locals.get('img_info')
    path = info.get('xml_path') if isinstance(info, dict) else None
    return path if isinstance(path, str) else None


def _scalars(cfg: dict, max_listed: int = 6) -> list[tuple[str, Any]]:
    scalars = [(key, value) for key, value in cfg.items() if isinstance(value, (str, int, float)) and key != 'type']
    return [(key, value) for key, value in scalars if not key.startswith('_')][:max_listed]


def _shortened(cfg: dict, length: int = 60) -> str:
    text = json.dumps(cfg, default=str)
    return text if len(text) <= length else f'{text[:length]}...'
