"""A patch of mmengine's evaluation loops."""

from collections.abc import Callable, Sequence
from typing import Any

from .patching import patch


def _reads_last_output() -> bool:
    from mmengine.runner import loops

    return hasattr(loops, '_update_losses')


@patch(
    'mmengine.runner.loops',
    '_update_losses',
    library='mmengine',
    versions='>=0.10.5,<1',
    issue='none known',
    reason="the evaluation of a model whose predictions are a dict or empty fails, 'KeyError: -1': mmengine looks for losses in the last "
    'prediction',
    until='mmengine looks for losses only in lists of predictions',
    is_needed=_reads_last_output,
)
def mmengine_prediction_losses(original: Callable[..., Any]) -> Callable[..., Any]:
    """Look for losses only in a sequence that is not empty."""

    def _update_losses(outputs: Any, losses: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if isinstance(outputs, Sequence) and len(outputs) > 0:
            return original(outputs, losses)  # type: ignore[no-any-return]
        return outputs, losses

    return _update_losses
