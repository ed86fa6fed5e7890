"""Patch of mmengine's message hub."""

from collections.abc import Callable
from typing import Any

from ..checkpoint import history_from_data
from .patching import patch


@patch(
    'mmengine.logging:MessageHub',
    'load_state_dict',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a resumed run loses the logged histories: save_data writes them as dicts of tensors, and MessageHub drops '
    'everything but HistoryBuffer',
    until='the patch mmengine_checkpoint_files is removed',
)
def mmengine_histories(original: Callable[..., None]) -> Callable[..., None]:
    """Convert the histories of a checkpoint back to `HistoryBuffer`."""

    def load_state_dict(self: Any, state_dict: Any) -> None:
        if isinstance(state_dict, dict) and 'log_scalars' in state_dict:
            histories = {name: history_from_data(value) for name, value in state_dict['log_scalars'].items()}
            state_dict = {**state_dict, 'log_scalars': histories}
        original(self, state_dict)

    return load_state_dict
