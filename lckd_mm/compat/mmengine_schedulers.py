"""Patches of mmengine's parameter schedulers."""

from collections.abc import Callable
from typing import Any

from .patching import patch


@patch(
    'mmengine.optim.scheduler.param_scheduler:OneCycleParamScheduler',
    ('state_dict', 'load_state_dict'),
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='the checkpoints of a training with OneCycleLR or OneCycleMomentum contain a function, for which they are refused: it cannot be '
    'resumed, nor its model evaluated',
    until='the state of OneCycleParamScheduler contains data only',
)
def mmengine_one_cycle_state(original: Callable[..., Any]) -> Callable[..., Any]:
    """Leave the function out, which the constructor sets."""

    def state(self: Any, *args: Any) -> Any:
        # Saving has no arguments, and loading has the state.
        if args:
            return original(self, {key: value for key, value in args[0].items() if key != 'anneal_func'})
        return {key: value for key, value in original(self).items() if key != 'anneal_func'}

    return state
