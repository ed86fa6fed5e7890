"""Patches of mmengine's distributed training."""

import atexit
import gc
from collections.abc import Callable
from typing import Any

import torch

from .patching import has_no_gpu, patch


@patch(
    'mmengine.dist.utils',
    '_init_dist_pytorch',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="'--launcher pytorch' fails on a machine without a GPU: mmengine calls torch.cuda.set_device and opens the backend 'nccl'",
    until='mmengine selects the backend by the available devices',
    is_needed=has_no_gpu,
)
def mmengine_cpu_process_group(_: Callable[..., None]) -> Callable[..., None]:
    """Open the backend 'gloo', whatever the config states."""

    def _init_dist_pytorch(backend: str, init_backend: str = 'torch', **kwargs: Any) -> None:
        torch.distributed.init_process_group(backend='gloo', **kwargs)
        # The threads of a gloo group that stays open can end a finished process with "terminate called".
        atexit.register(_close_process_groups)

    return _init_dist_pytorch


def _close_process_groups() -> None:
    if torch.distributed.is_initialized():
        # A data parallel wrapper in a reference cycle, such as that of the Runner and its hooks, keeps the group and its threads.
        gc.collect()
        torch.distributed.destroy_process_group()
        gc.collect()


@patch(
    'mmengine.model:MMDistributedDataParallel',
    '__init__',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='distributed training fails on a machine without a GPU: the Runner passes device_ids, which '
    'DistributedDataParallel refuses for a model on the CPU',
    until='the Runner passes device_ids only for models on a GPU',
    is_needed=has_no_gpu,
)
def mmengine_cpu_data_parallel(original: Callable[..., None]) -> Callable[..., None]:
    """Drop the argument `device_ids`."""

    def __init__(self: Any, module: torch.nn.Module, *args: Any, **kwargs: Any) -> None:  # noqa: N807  (replaces this method)
        kwargs.pop('device_ids', None)
        original(self, module, *args, **kwargs)

    return __init__


@patch(
    'mmengine.runner:Runner',
    'wrap_model',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='calculate_student_loss=False fails in distributed training: the parameters of the head have no gradient, for which '
    "DistributedDataParallel waits ('Expected to have finished reduction')",
    until='the Runner, or mmrazor, sets find_unused_parameters for such a distillation',
)
def mmengine_unused_parameters(original: Callable[..., Any]) -> Callable[..., Any]:
    """Set the option `find_unused_parameters` of the config, if the model states that it has such parameters."""

    def wrap_model(self: Any, model_wrapper_cfg: dict[str, Any] | None, model: Any) -> Any:
        # The class states it; an attribute of the student has no effect.
        if hasattr(type(model), 'has_unused_parameters') and model.has_unused_parameters:
            options = self.cfg if model_wrapper_cfg is None else model_wrapper_cfg
            options.setdefault('find_unused_parameters', True)
        return original(self, model_wrapper_cfg, model)

    return wrap_model
