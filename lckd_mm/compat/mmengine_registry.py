"""A patch of mmengine's registries."""

from collections.abc import Callable
from typing import Any

from .patching import patch


@patch(
    'mmengine.registry:Registry',
    'build',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="a model of one package in a config of another, 'mmcls.ImageClassifier' in scope mmrazor for example, cannot build its parts: "
    'ClsDataPreprocessor is not in the mmrazor::model registry; mmengine searches only the registry of the default scope, not the one '
    'that the model builds with',
    until='mmengine searches the registry on which `build` is called as well',
)
def mmengine_registry_build(original: Callable[..., Any]) -> Callable[..., Any]:
    """Take a type that the default scope does not have from the registry on which ``build`` is called."""

    def build(self: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        found = _find_own_type(self, cfg)
        return original(self, cfg if found is None else {**cfg, 'type': found}, *args, **kwargs)

    return build


def _find_own_type(registry: Any, cfg: Any) -> Any:
    """Return the class of a config without a scope, if the default scope does not have it; None otherwise."""
    from mmengine.registry import DefaultScope

    name = cfg.get('type') if isinstance(cfg, dict) else None
    scope = DefaultScope.get_current_instance()
    if not isinstance(name, str) or '.' in name or '_scope_' in cfg or scope is None:
        return None
    current = registry.root._search_child(scope.scope_name)
    if current is None or current is registry or _has(current, name):
        return None
    return _own_types(registry).get(name)


def _has(registry: Any, name: str) -> bool:
    while registry is not None:
        if name in _own_types(registry):
            return True
        registry = registry.parent
    return False


def _own_types(registry: Any) -> dict[str, Any]:
    registry.import_from_location()
    types: dict[str, Any] = registry.module_dict
    return types
