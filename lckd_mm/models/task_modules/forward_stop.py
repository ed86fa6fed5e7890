from typing import Any, Callable, Iterable

from torch import nn


class _Stop(BaseException):
    """Not an ``Exception``: a model that catches those must not catch this."""


class ForwardStop:
    """Run a model only as far as it is needed: nothing after the last recorded layer is computed.

    Args:
        modules (Iterable[nn.Module]): The modules after which ``complete`` is asked, in any order.
        complete (Callable[[], bool]): Whether everything is there that the run is for.
    """

    def __init__(self, modules: Iterable[nn.Module], complete: Callable[[], bool]) -> None:
        self._complete = complete
        self._running = False
        self._handles = [module.register_forward_hook(self._stop_when_complete) for module in modules]

    def run(self, forward: Callable, *args: Any, **kwargs: Any) -> bool:
        """Call ``forward(*args, **kwargs)``, whose result is dropped, and return whether it was stopped early."""
        self._running = True
        try:
            forward(*args, **kwargs)
        except _Stop:
            return True
        finally:
            self._running = False
        return False

    def remove(self) -> None:
        """Take the hooks off the modules."""
        for handle in self._handles:
            handle.remove()

    def _stop_when_complete(self, *_: Any) -> None:
        if self._running and self._complete():
            raise _Stop
