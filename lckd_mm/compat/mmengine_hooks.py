"""Patch of the registration of default hooks in mmengine's Runner."""

from collections.abc import Callable
from typing import Any

from .patching import patch

_MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


@patch(
    'mmengine.runner:Runner',
    'register_default_hooks',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="'default_hooks.annotation_check=None', which switches a hook off, fails with a bare AssertionError: mmengine accepts None "
    'only for its own six default hooks',
    until='the Runner accepts None for every name in default_hooks',
)
def mmengine_default_hooks(original: Callable[..., None]) -> Callable[..., None]:
    """Drop entries of None, except those of mmengine's own hooks, which it removes itself."""

    def register_default_hooks(self: Any, hooks: dict[str, Any] | None = None) -> None:
        if hooks is not None:
            hooks = {name: hook for name, hook in hooks.items() if hook is not None or name in _MMENGINE_HOOKS}
        original(self, hooks)

    return register_default_hooks
