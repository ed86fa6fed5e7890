"""Patch of the construction of mmengine's Runner."""

import contextlib
import inspect
import io
import sys
from collections.abc import Callable
from typing import Any

from .patching import patch


@patch(
    'mmengine.runner:Runner',
    '__init__',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a training without `randomness.seed` is resumed with another order of the data: mmengine reads the seed of the '
    'checkpoint after it has built samplers and models with a new one',
    until='the Runner reads the seed of the checkpoint before it builds anything',
)
def mmengine_resumed_seed(original: Callable[..., None]) -> Callable[..., None]:
    """Let a resumed training start with the seed of its checkpoint, as far as the config has none."""
    signature = inspect.signature(original)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  (replaces this method)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        options = bound.arguments
        if options['resume'] and options['randomness'].get('seed') is None:
            seed = _checkpoint_seed(options['load_from'], options['work_dir'])
            options['randomness'] = {**options['randomness'], 'seed': seed}
        original(*bound.args, **bound.kwargs)

    return __init__


def _checkpoint_seed(checkpoint: str | None, work_dir: str) -> int | None:
    """Return the seed of the checkpoint from which a training is resumed, None if there is none.

    The Runner reports a checkpoint that cannot be read.
    """
    runner: Any = sys.modules['mmengine.runner.runner']
    # Without a logger yet, mmengine prints that there is no checkpoint, which the Runner does again.
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        path = checkpoint or runner.find_latest_checkpoint(work_dir)
        return path and runner._load_checkpoint(path, map_location='cpu')['meta'].get('seed')
    return None
