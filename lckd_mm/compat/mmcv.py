"""Patches of mmcv, and the check that they load."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..dependencies import FRAMEWORKS, STACKS, find_distribution, find_version
from .patching import patch

# The operators that mmdet, mmseg and mmpretrain call with feature maps and whose kernels, on a CPU and on a GPU, read
# `data_ptr` as a contiguous (B, C, H, W) array (mmcv/ops/csrc/pytorch). The other operators that they call are written in
# Python (point_sample, CornerPool, CrissCrossAttention) or receive tensors that are contiguous by construction (nms,
# MultiScaleDeformableAttention).
_FEATURE_MAP_OPS = (
    'mmcv.ops.carafe:CARAFEFunction',
    'mmcv.ops.deform_conv:DeformConv2dFunction',
    'mmcv.ops.masked_conv:MaskedConv2dFunction',
    'mmcv.ops.modulated_deform_conv:ModulatedDeformConv2dFunction',
    'mmcv.ops.psa_mask:PSAMaskFunction',
    'mmcv.ops.roi_align:RoIAlignFunction',
    'mmcv.ops.roi_pool:RoIPoolFunction',
)

# The operators that mmdet, mmseg and mmpretrain call and whose kernels for the CPU lack bfloat16.
_CPU_OPS = (
    'mmcv.ops.deform_conv:DeformConv2dFunction',
    'mmcv.ops.modulated_deform_conv:ModulatedDeformConv2dFunction',
    'mmcv.ops.nms:NMSop',
    'mmcv.ops.nms:SoftNMSop',
    'mmcv.ops.roi_align:RoIAlignFunction',
)


def check_mmcv_ops() -> None:
    """Check that mmcv's compiled operators load.

    Raises:
        ImportError: mmcv was built without operators, or for another torch. The message contains the command that builds them.
    """
    # Errors of mmcv itself, such as a missing dependency, are not about its operators.
    importlib.import_module('mmcv')
    try:
        importlib.import_module('mmcv._ext')
    except ImportError as error:
        distribution = find_distribution('mmcv') or FRAMEWORKS['mmcv'][STACKS[0]]
        command = distribution.command.replace('--no-cache-dir', '--no-cache-dir --force-reinstall')
        raise ImportError(
            f'lckd_mm cannot be imported: the compiled operators of {distribution.name} {find_version(distribution.name)} do not load '
            f'with torch {torch.__version__} ({error}); build them with: {command}'
        ) from error


@patch(
    _FEATURE_MAP_OPS,
    ('forward', 'backward'),
    library='mmcv',
    versions='>=2.0.0,<=2.1.0',
    onedl='>=2.3,<3',
    issue='open-mmlab/mmcv#2203',
    reason='RoIAlign, RoIPool, ModulatedDeformConv2d, MaskedConv2d, CARAFE and PSAMask silently return wrong numbers for '
    "channels_last and other non-contiguous feature maps; DeformConv2d fails with 'input must be contiguous'",
    until="mmcv's operators check the strides of their inputs",
)
def mmcv_noncontiguous_maps(original: Callable[..., Any]) -> Callable[..., Any]:
    """Make 4-D arguments contiguous; contiguous ones are passed on as they are, without a copy."""

    def call(ctx: Any, *args: Any) -> Any:
        return original(ctx, *(arg.contiguous() if isinstance(arg, Tensor) and arg.dim() == 4 else arg for arg in args))

    return call


@patch(
    _CPU_OPS,
    ('forward', 'backward'),
    library='mmcv',
    versions='>=2.0.0,<=2.1.0',
    onedl='>=2.3,<3',
    issue='none known for the CPU (open-mmlab/mmcv#3061 is about the GPU)',
    reason='RoIAlign, DeformConv2d, ModulatedDeformConv2d, NMS and soft NMS fail on a CPU under autocast: not '
    "implemented for 'BFloat16'",
    until="mmcv's CPU kernels support bfloat16",
)
def mmcv_cpu_bfloat16(original: Callable[..., Any]) -> Callable[..., Any]:
    """Compute in float32 if an argument is bfloat16 on the CPU, and return bfloat16; other calls are passed on as they are."""

    def call(ctx: Any, *args: Any) -> Any:
        if not any(_is_cpu_bfloat16(arg) for arg in args):
            return original(ctx, *args)
        outputs = original(ctx, *(arg.float() if _is_cpu_bfloat16(arg) else arg for arg in args))
        return tuple(map(_to_bfloat16, outputs)) if isinstance(outputs, tuple) else _to_bfloat16(outputs)

    return call


def _is_cpu_bfloat16(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16 and value.device.type == 'cpu'


def _to_bfloat16(value: Any) -> Any:
    return value.bfloat16() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


@patch(
    ('mmcv.image.photometric', 'mmcv.image', 'mmcv'),
    'adjust_hue',
    library='mmcv',
    versions='>=2.0.0,<=2.1.0',
    onedl='',
    issue='none known',
    reason='ColorJitter(hue=...) and adjust_hue with a negative factor fail: numpy 2 does not convert negative numbers to uint8',
    until='mmcv computes the shift modulo 256',
)
def mmcv_negative_hue(original: Callable[..., Any]) -> Callable[..., Any]:
    """Compute the shift of the hue modulo 256, as numpy 1 did."""

    def adjust_hue(img: Any, hue_factor: float, backend: Any = None) -> Any:
        return original(img, _HueFactor(hue_factor), backend)

    return adjust_hue


class _HueFactor(float):
    """A factor whose product with 255 is a number of type uint8: C truncates towards zero, and keeps the lowest eight bits."""

    def __mul__(self, other: Any) -> int:
        return int(float(self) * other) % 256
