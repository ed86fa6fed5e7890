"""Building a student or a teacher from a config."""

import contextlib
import copy
import importlib
import logging
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS
from torch import nn

from lckd_mm.errors import ConfigValueError

from .config_file import merge_options, read_config
from .pixels import is_default_preprocessor


def build_model(model: BaseModel | dict[str, Any], data_preprocessor: dict[str, Any] | None = None) -> BaseModel:
    """Build a model from ``dict(cfg_path=..., cfg_options=...)`` or from a model config.

    Args:
        model (dict | BaseModel): A built model is returned as it is. ``cfg_path`` is ``'package::path'`` or a file. ``cfg_options``
            override values of its ``model``, or of the model config beside them. A config without ``_scope_`` is built in the scope
            that registers its ``type``.
        data_preprocessor (dict, optional): Options of the data preprocessor, which override those of a ``cfg_path`` and are the
            defaults of a model config. Defaults to None.

    Returns:
        BaseModel: The built model.

    Raises:
        ConfigValueError: A list of models, a key beside ``cfg_path`` and ``cfg_options``, a config without ``model``, or a ``type`` that
            several scopes register.
        ConfigFileNotFoundError: There is no such config.

    Example:
        >>> model = build_model(dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', cfg_options={'head.num_classes': 7}))
        >>> model.head.fc.out_features
        7
    """
    if isinstance(model, (list, tuple)):
        raise ConfigValueError(
            f'{len(model)} models in a list: a distillation has one student and one teacher; give one model config (to distill several '
            'teachers, train one distillation after another from the weights of the last).'
        )
    if not isinstance(model, dict):
        return model
    return _build(*_resolve(model, data_preprocessor))


def build_student(
    architecture: BaseModel | dict, data_preprocessor: nn.Module | dict | None
) -> tuple[BaseModel, nn.Module | dict | None]:
    """Build the student as a training without distillation does, and return the data preprocessor of the algorithm.

    A Runner passes a data preprocessor from the top level of a config to the model as a default. Options without a type, as in
    mmpretrain, are those of the student's preprocessor. In mmseg configs the top level repeats what the model contains.
    The student's own preprocessor has priority over one of the same type, as in a training of the student alone. One of another type,
    the ``ImgDataPreprocessor`` of MMRazor's classification configs for example, is that of the algorithm.

    Args:
        architecture (dict | BaseModel): As in :func:`build_model`.
        data_preprocessor (dict | nn.Module, optional): The data preprocessor of the algorithm, or options of the student's.

    Returns:
        tuple[BaseModel, dict | nn.Module | None]: The student, and the data preprocessor of the algorithm; None stands for the student's.
    """
    if not isinstance(data_preprocessor, dict):
        return build_model(architecture), data_preprocessor
    if 'type' not in data_preprocessor:
        if isinstance(architecture, dict):
            return build_model(architecture, data_preprocessor), None
        return architecture, dict(data_preprocessor, type=type(architecture.data_preprocessor))
    if not isinstance(architecture, dict):
        return architecture, data_preprocessor
    config, scope = _resolve(architecture, None)
    if not _is_of_student(data_preprocessor, config.get('data_preprocessor') or {}):
        return _build(config, scope), data_preprocessor
    # The student adds to it what belongs to its own recipe, such as the Mixup of mmpretrain.
    return build_model(architecture, data_preprocessor), None


def _is_of_student(data_preprocessor: dict[str, Any], own: dict[str, Any]) -> bool:
    """Return whether a data preprocessor has the type of the student's own, as far as the config says."""
    kind, own_kind = (_class_name(config.get('type')) for config in (data_preprocessor, own))
    # A student that leaves out the type has that of its package, which adds to the one of mmengine in the configs of MMRazor.
    return kind == own_kind if own_kind else kind not in MMENGINE_MODELS.module_dict


def _class_name(kind: Any) -> str:
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')


def build_teacher(teacher: BaseModel | dict[str, Any]) -> tuple[BaseModel, bool]:
    """Build a teacher, and find out whether it has a data preprocessor of its own.

    Args:
        teacher (dict | BaseModel): As in :func:`build_model`.

    Returns:
        tuple[BaseModel, bool]: The model, and whether its config has a ``data_preprocessor`` (at its top level or in ``model``, for a
        ``cfg_path``). A built model has one if it normalizes, reverses the channels or pads.
    """
    if not isinstance(teacher, dict):
        model = build_model(teacher)
        return model, not is_default_preprocessor(model.data_preprocessor)
    config, scope = _resolve(teacher, None)
    model = _build(config, scope)
    # A wrapper has the data preprocessor of the model inside it.
    return model, config.get('data_preprocessor') is not None or not is_default_preprocessor(model.data_preprocessor)


def _build(config: dict[str, Any], scope: str | None) -> BaseModel:
    if scope is None:
        return MODELS.build(config)
    with DefaultScope.overwrite_default_scope(scope):
        return MMENGINE_MODELS.build(config)


def _resolve(model: dict[str, Any], data_preprocessor: dict[str, Any] | None) -> tuple[dict[str, Any], str | None]:
    """Return the model config, and the scope in which a config file is built."""
    model = copy.deepcopy(model)
    if 'cfg_path' in model:
        return _read_model(model, data_preprocessor)
    cfg_options = model.pop('cfg_options', None)
    if cfg_options:
        model = _override(model, cfg_options)
    if data_preprocessor is not None:
        _log_unused_options(data_preprocessor, model.setdefault('data_preprocessor', data_preprocessor))
    # With a class or a prefix in `type` alone, defaults such as the data preprocessor would be looked up in mmrazor's scope.
    scope = _type_scope(model.get('type')) or _find_scope(model)
    if scope and '_scope_' not in model:
        model['_scope_'] = scope
    return model, None


def _log_unused_options(options: dict[str, Any], own: Any) -> None:
    """Warn about options that the data preprocessor in a model config overrides."""
    unused = {
        name: value
        for name, value in options.items()
        if name != 'type' and isinstance(own, dict) and own.get(name) != value
    }
    if unused:
        print_log(
            f'The options {unused} of the data_preprocessor are not used, since the model config has its own, which has priority: set them '
            'in the data_preprocessor of `architecture`.',
            logger='current',
            level=logging.WARNING,
        )


def _read_model(model: dict[str, Any], data_preprocessor: dict[str, Any] | None) -> tuple[dict[str, Any], str | None]:
    cfg_path, cfg_options = model.pop('cfg_path'), model.pop('cfg_options', None) or {}
    # `pretrained` is that of `published_checkpoint`.
    unknown = sorted(set(model) - {'_scope_', 'type', 'pretrained'})
    if unknown:
        raise ConfigValueError(
            f'{unknown} beside cfg_path={cfg_path!r}: a model that is named by its config takes only `cfg_options` and `pretrained`; '
            f'write cfg_options={{{unknown[0]!r}: ...}}.'
        )
    config = read_config(cfg_path)
    if 'model' not in config:
        raise ConfigValueError(f'cfg_path={cfg_path!r} defines no `model`: name a config that does.')
    if config.get('data_preprocessor'):
        config.model.setdefault('data_preprocessor', config.data_preprocessor)
    if data_preprocessor is not None:
        own = config.model.get('data_preprocessor', {})
        same_type = data_preprocessor.get('type', own.get('type')) == own.get('type')
        config.model.data_preprocessor = {**(own if same_type else {}), **data_preprocessor}
    config.model = _override(config.model, cfg_options)
    return config.model, config.get('default_scope') or _package_scope(cfg_path)


def _package_scope(cfg_path: str) -> str | None:
    """Return the scope of a config file without a default scope: its package if that is a scope, else the current one."""
    package, colons, _ = cfg_path.partition('::')
    if colons and package != 'lckd_mm':
        return package
    current = DefaultScope.get_current_instance()
    return None if current is None else current.scope_name


def _override(model: dict[str, Any], cfg_options: dict[str, Any]) -> dict[str, Any]:
    """Return a model config with new values by dotted key."""
    config = Config(dict(model=model))
    merge_options(config, {f'model.{key}': value for key, value in cfg_options.items()})
    return config.model


def _type_scope(kind: Any) -> str | None:
    """Return the scope of a class, or of a type with a prefix or a full name: its package, if that has registries."""
    package, dot, _ = (f'{kind.__module__}.' if isinstance(kind, type) else str(kind)).partition('.')
    if not dot:
        return None
    # The module adds its registries to those of mmengine; a project may have added them elsewhere.
    with contextlib.suppress(ImportError):
        importlib.import_module(f'{package}.registry')
    return package if MMENGINE_MODELS._search_child(package) is not None else None


def _find_scope(model: dict[str, Any]) -> str | None:
    """Return the scope of a model's type, if the current scope does not register it and exactly one other does."""
    name, current = model.get('type'), DefaultScope.get_current_instance()
    if '_scope_' in model or not isinstance(name, str) or name in MMENGINE_MODELS.module_dict:
        return None
    scopes = [scope for scope, registry in MMENGINE_MODELS.children.items() if name in registry.module_dict]
    if not scopes or 'mmrazor' in scopes or (current is not None and current.scope_name in scopes):
        return None
    if len(scopes) > 1:
        raise ConfigValueError(
            f"the model type {name!r} is registered in the scopes {scopes}: add _scope_='{scopes[0]}' to its config, or another of them."
        )
    return scopes[0]
