"""Batch normalization in adapters and connectors: synchronized as in the student, and usable with one value per channel."""

from typing import Any

from mmengine.dist import get_world_size
from mmengine.model import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def follow_sync_bn(distiller: nn.Module, student: nn.Module) -> None:
    """Synchronize the BNs of a distiller if the student contains SyncBN of torch or mmcv.

    Otherwise each process of a distributed training would normalize the student's maps by statistics of its own in the adapters.

    Args:
        distiller (nn.Module): Its BNs are replaced by SyncBNs with the same parameters and buffers.
        student (nn.Module): The student.
    """
    # mmcv's class of the same name is no subclass of torch's.
    synchronized = [module for module in student.modules() if type(module).__name__ == 'SyncBatchNorm']
    if not synchronized:
        return
    implementation = 'torch' if isinstance(synchronized[0], nn.SyncBatchNorm) else 'mmcv'
    for name, child in distiller.named_children():
        setattr(distiller, name, convert_sync_batchnorm(child, implementation))


def allow_single_values(distiller: nn.Module) -> None:
    """Let the BNs of a distiller normalize a batch of one value per channel by their running statistics.

    PyTorch raises an error for such a batch, which has no variance. One small image in the last batch of an epoch has one value per
    channel at a tap of 1 x 1 positions. The running statistics do not change in this batch.

    Args:
        distiller (nn.Module): Its BNs receive hooks. A conversion from or to SyncBN removes them.
    """
    for module in distiller.modules():
        if isinstance(module, _BatchNorm) and _use_running_statistics not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_use_running_statistics)
            module.register_forward_hook(_restore_mode, always_call=True)


def _use_running_statistics(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    feature = inputs[0]
    is_single = feature.dim() > 1 and feature.numel() == feature.shape[1]
    # SyncBN counts the values of all processes, all of which have to take part.
    is_shared = isinstance(module, nn.SyncBatchNorm) and get_world_size() > 1
    if module.training and is_single and not is_shared and module.running_mean is not None:
        module.training = False
        module.__dict__['_is_training_paused'] = True


def _restore_mode(module: nn.Module, *_: Any) -> None:
    if module.__dict__.pop('_is_training_paused', False):
        module.training = True
