"""Patch of synchronized batch normalization in distributed training without a GPU."""

from collections.abc import Callable
from typing import Any

from torch import nn

from .patching import has_no_gpu, patch


@patch(
    'mmengine.runner:Runner',
    'wrap_model',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="'--launcher pytorch' fails on a machine without a GPU if a model contains SyncBN, as in most configs of mmseg: 'SyncBatchNorm "
    "layers only work with GPU modules'; the Runner replaces SyncBN only in a training of one process",
    until='mmengine replaces SyncBN for models on the CPU',
    is_needed=has_no_gpu,
)
def mmengine_cpu_sync_bn(original: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Replace SyncBN by BN, and ignore the option `sync_bn` of the config, which replaces BN by SyncBN."""

    def wrap_model(self: Any, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        from mmengine.model import revert_sync_batchnorm

        self.cfg.pop('sync_bn', None)
        return original(self, model_wrapper_cfg, revert_sync_batchnorm(model))

    return wrap_model
