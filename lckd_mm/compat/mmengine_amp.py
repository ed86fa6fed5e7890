"""Patch of mmengine's mixed precision."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

from .patching import has_no_gpu, patch


@patch(
    'mmengine.optim:AmpOptimWrapper',
    '__init__',
    library='mmengine',
    versions='>=0.10,<1',
    issue='open-mmlab/mmpretrain#1556',
    reason="'--amp' fails on a machine without a GPU ('only available training on gpu'), although mmengine's autocast "
    'supports bfloat16 there',
    until='AmpOptimWrapper accepts every device that autocast supports',
    is_needed=has_no_gpu,
)
def mmengine_cpu_amp(original: Callable[..., None]) -> Callable[..., None]:
    """Skip the check of the device.

    bfloat16 has the range of float32: no loss scaling is needed, and the loss scaler that the wrapper creates is disabled
    without CUDA.
    """

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  (replaces this method)
        module: Any = sys.modules['mmengine.optim.optimizer.amp_optimizer_wrapper']
        actual = module.is_cuda_available
        module.is_cuda_available = lambda: True
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings('ignore', '.*GradScaler', category=Warning)
                original(self, *args, **kwargs)
        finally:
            module.is_cuda_available = actual

    return __init__
