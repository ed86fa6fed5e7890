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

    def without_function(state: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in state.items() if key != 'anneal_func'}

    def state_dict(self: Any) -> dict[str, Any]:
        return without_function(original(self))

    def load_state_dict(self: Any, state_dict: dict[str, Any]) -> None:
        original(self, without_function(state_dict))

    return state_dict if original.__name__ == 'state_dict' else load_state_dict
