from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn


class _StopForward(BaseException):
    """Derives from ``BaseException``, since a model may catch every ``Exception``."""


class ForwardStop:
    """End the forward pass of a model as soon as its output is no longer needed.

    Args:
        modules (Iterable[nn.Module]): The modules after which ``is_complete`` is evaluated, in any order.
        is_complete (Callable[[], bool]): Returns True when the forward pass may end.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> stop = ForwardStop([model[1]], lambda: True)
        >>> stop.run(model, torch.zeros(1, 2))
        True
    """

    def __init__(self, modules: Iterable[nn.Module], is_complete: Callable[[], bool]) -> None:
        self._is_complete = is_complete
        self._is_running = False
        self._handles = [module.register_forward_hook(self._stop_if_complete) for module in modules]

    def run(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """Call ``forward(*args, **kwargs)``, discard its result, and return whether it was ended early."""
        self._is_running = True
        try:
            forward(*args, **kwargs)
        except _StopForward:
            return True
        finally:
            self._is_running = False
        return False

    def remove(self) -> None:
        """Remove the hooks from the modules."""
        for handle in self._handles:
            handle.remove()

    def _stop_if_complete(self, *_: Any) -> None:
        # A compiled function cannot be left by an exception; the hook of a module around it ends the forward pass.
        if not torch.compiler.is_compiling() and self._is_running and self._is_complete():
            raise _StopForward


def stop_after_records(model: nn.Module, recorders: Mapping[str, Any], counts: Mapping[str, int]) -> ForwardStop:
    """Return what ends a forward pass once all records are there.

    Args:
        model (nn.Module): The network.
        recorders (Mapping[str, BaseRecorder]): MMRazor's recorders of modules by name.
        counts (Mapping[str, int]): The number of records that each recorder needs.

    Returns:
        ForwardStop: The stop, registered after the recorders.
    """
    sources = {recorders[name].source for name in counts}
    # A module around a recorded one ends the forward pass if the latter is inside a compiled function.
    modules = [
        module
        for name, module in model.named_modules()
        if name and any(f'{source}.'.startswith(f'{name}.') for source in sources)
    ]
    return ForwardStop(modules, lambda: all(len(recorders[name].data_buffer) >= n for name, n in counts.items()))
