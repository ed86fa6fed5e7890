from types import SimpleNamespace
from typing import Any

from mmengine.runner import Runner

import lckd_mm  # noqa: F401  (applies the patches)


def registered_types(default_hooks: dict[str, Any]) -> list[str]:
    types: list[str] = []
    runner = SimpleNamespace(register_hook=lambda hook: types.append(hook['type']))
    Runner.register_default_hooks(runner, default_hooks)
    return types


def test_default_hook_is_switched_off_by_none() -> None:
    types = registered_types(dict(annotation_check=None, visualization=dict(type='DetVisualizationHook')))
    assert types[-1] == 'DetVisualizationHook'
    assert 'LoggerHook' in types


def test_mmengines_own_default_hook_is_still_switched_off_by_none() -> None:
    assert 'LoggerHook' not in registered_types(dict(logger=None))
