"""Building a student or a teacher from a config."""

import copy
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS

from lckd_mm.errors import ConfigValueError

from .config_file import merge_options, read_config


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
    model = copy.deepcopy(model)
    if 'cfg_path' in model:
        return _build_from_path(model, data_preprocessor)
    cfg_options = model.pop('cfg_options', None)
    if cfg_options:
        model = _override(model, cfg_options)
    if data_preprocessor is not None:
        model.setdefault('data_preprocessor', data_preprocessor)
    # With a scope in the prefix of `type` alone, defaults such as the data preprocessor would be looked up in mmrazor's scope.
    prefix, dot, _ = str(model.get('type', '')).partition('.')
    scope = prefix if dot else _find_scope(model)
    if scope and '_scope_' not in model:
        model['_scope_'] = scope
    return MODELS.build(model)


def _build_from_path(model: dict[str, Any], data_preprocessor: dict[str, Any] | None) -> BaseModel:
    cfg_path, cfg_options = model.pop('cfg_path'), model.pop('cfg_options', None) or {}
    unknown = sorted(set(model) - {'_scope_', 'type'})
    if unknown:
        raise ConfigValueError(
            f'{unknown} beside cfg_path={cfg_path!r}: a model that is named by its config takes only `cfg_options`; write '
            f'cfg_options={{{unknown[0]!r}: ...}}.'
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
    package, colons, _ = cfg_path.partition('::')
    scope = package if colons else config.get('default_scope') or DefaultScope.get_current_instance().scope_name
    with DefaultScope.overwrite_default_scope(scope):
        return MMENGINE_MODELS.build(config.model)


def _override(model: dict[str, Any], cfg_options: dict[str, Any]) -> dict[str, Any]:
    """Return a model config with new values by dotted key."""
    config = Config(dict(model=model))
    merge_options(config, {f'model.{key}': value for key, value in cfg_options.items()})
    return config.model


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
