"""mmcv's operators with feature maps of any layout, and with bfloat16 on the CPU."""

import colorsys
import sys
from collections.abc import Callable
from typing import Any

import mmcv._ext
import numpy as np
import pytest
import torch
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d, PSAMask, RoIAlign, nms, soft_nms
from torch import Tensor

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm import compat

BOXES = torch.tensor([[0.0, 3, 4, 60, 70], [1, 10, 10, 100, 60]])
SCORES = torch.tensor([0.5, 0.6])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def operator(name: str) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """Return an operator and feature maps for it."""
    maps, offset = random(2, 8, 12, 14), random(2, 18, 12, 14, seed=1)
    torch.manual_seed(0)
    if name.startswith('RoIAlign'):
        align = RoIAlign(7, 0.25, 0, name.removeprefix('RoIAlign_'))
        return lambda x: align(x, BOXES.to(x.dtype)), [maps]
    if name == 'DeformConv2d':
        return DeformConv2d(8, 4, 3, padding=1), [maps, offset]
    if name == 'ModulatedDeformConv2d':
        return ModulatedDeformConv2d(8, 4, 3, padding=1), [maps, offset, random(2, 9, 12, 14, seed=2).sigmoid()]
    return PSAMask(name.removeprefix('PSAMask_'), (5, 5)), [random(2, 25, 6, 7)]


OPERATORS = [
    *('RoIAlign_avg', 'RoIAlign_max', 'DeformConv2d', 'ModulatedDeformConv2d'),
    *('PSAMask_collect', 'PSAMask_distribute'),
]


def outputs_and_gradients(
    function: Callable[..., Tensor], maps: list[Tensor], layout: torch.memory_format
) -> list[Tensor]:
    """Return the output and the gradients of the maps, with everything in one memory layout."""
    leaves = [x.detach().clone(memory_format=layout).requires_grad_() for x in maps]
    out = function(*leaves)
    gradient = random(*out.shape, seed=9).to(out.dtype).to(memory_format=layout)
    return [out.detach(), *torch.autograd.grad(out, leaves, gradient)]


@pytest.mark.parametrize('name', OPERATORS)
def test_channels_last_maps_give_the_numbers_of_contiguous_maps(name: str) -> None:
    function, maps = operator(name)
    expected = outputs_and_gradients(function, maps, torch.contiguous_format)
    for actual, value in zip(outputs_and_gradients(function, maps, torch.channels_last), expected):
        torch.testing.assert_close(actual, value)


@pytest.mark.parametrize('pool_mode', ['avg', 'max'])
@pytest.mark.parametrize('half_the_channels', [False, True])
def test_roi_align_reads_maps_in_any_layout(pool_mode: str, half_the_channels: bool) -> None:
    feature = random(2, 8, 20, 30)
    layouts = (torch.contiguous_format, torch.channels_last)
    maps = [feature.to(memory_format=layout, copy=True).requires_grad_() for layout in layouts]
    # A slice has neither layout.
    slices = [x[:, ::2] if half_the_channels else x for x in maps]
    slices[0] = slices[0].contiguous()
    first, second = (RoIAlign(7, 0.25, 0, pool_mode)(x, BOXES) for x in slices)
    torch.testing.assert_close(second, first)
    first.square().sum().backward()
    # The gradient is in the other layout, too.
    second.backward((2 * second.detach()).to(memory_format=torch.channels_last))
    torch.testing.assert_close(maps[1].grad, maps[0].grad)


@pytest.mark.parametrize(
    ('module', 'kernel', 'arguments'),
    [
        ('roi_pool', 'roi_pool_forward', (BOXES, 7, 0.25)),
        ('carafe', 'carafe_forward', (random(1, 25, 24, 28).to(memory_format=torch.channels_last), 5, 1, 2)),
        ('masked_conv', 'masked_im2col_forward', (torch.ones(1, 12, 14), torch.ones(4, 8, 3, 3), torch.ones(4), 1)),
    ],
)
def test_operators_without_a_cpu_kernel_get_contiguous_maps(
    module: str, kernel: str, arguments: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = random(1, 8, 12, 14).to(memory_format=torch.channels_last)
    received: list[Tensor] = []

    class KernelCalledError(Exception):
        pass

    def record(*args: Any, **kwargs: Any) -> None:
        received.extend(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.dim() == 4)
        raise KernelCalledError

    monkeypatch.setattr(mmcv._ext, kernel, record)
    function = {'roi_pool': 'roi_pool', 'carafe': 'carafe', 'masked_conv': 'masked_conv2d'}[module]
    with pytest.raises(KernelCalledError):
        getattr(sys.modules[f'mmcv.ops.{module}'], function)(maps, *arguments)
    assert received
    assert all(value.is_contiguous() for value in received)


def test_contiguous_maps_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Tensor] = []
    kernel = mmcv._ext.roi_align_forward

    def record(x: Tensor, *args: Any, **kwargs: Any) -> None:
        received.append(x)
        kernel(x, *args, **kwargs)

    monkeypatch.setattr(mmcv._ext, 'roi_align_forward', record)
    maps = random(2, 8, 20, 30)
    RoIAlign(7, 0.25, 0)(maps, BOXES)
    assert received[0].data_ptr() == maps.data_ptr()


@pytest.mark.parametrize('name', OPERATORS)
def test_operators_compute_bfloat16_on_the_cpu(name: str) -> None:
    function, maps = operator(name)
    half = [x.bfloat16() for x in maps]
    full = [x.float() for x in half]
    expected = outputs_and_gradients(function, full, torch.contiguous_format)
    actual = outputs_and_gradients(function, half, torch.contiguous_format)
    for value, reference in zip(actual, expected):
        assert value.dtype == torch.bfloat16
        torch.testing.assert_close(value.float(), reference, rtol=0.05, atol=0.05)


def test_roi_align_and_nms_take_bfloat16_on_the_cpu() -> None:
    feature, boxes = random(2, 8, 20, 30).bfloat16(), BOXES.bfloat16()
    half, full = feature.clone().requires_grad_(), feature.float().requires_grad_()
    align = RoIAlign(7, 0.25, 0)
    first, second = align(half, boxes), align(full, boxes.float())
    assert first.dtype == torch.bfloat16
    torch.testing.assert_close(first.float(), second, rtol=0.01, atol=0.01)
    first.float().square().sum().backward()
    second.square().sum().backward()
    torch.testing.assert_close(half.grad.float(), full.grad, rtol=0.05, atol=0.05)
    for suppress in (nms, soft_nms):
        detections, kept = suppress(boxes[:, 1:].contiguous(), SCORES.bfloat16(), 0.9)
        assert kept.tolist() == [1, 0]
        assert detections.dtype == torch.bfloat16


def test_other_dtypes_are_not_converted() -> None:
    maps = random(2, 8, 20, 30).double()
    assert RoIAlign(7, 0.25, 0)(maps, BOXES.double()).dtype == torch.float64


def test_mmcv_without_operators_is_reported_with_the_command_that_builds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    with pytest.raises(ImportError, match=r'operators of (onedl-)?mmcv .* MMCV_WITH_OPS=1 .*pip install'):
        compat.check_mmcv_ops()


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('factor', [-0.5, -0.2, 0.0, 0.2, 0.5])
def test_hue_is_shifted_in_both_directions(factor: float, backend: str) -> None:
    # Pure red, and gray, which has no hue.
    image = np.array([[[0, 0, 255], [90, 90, 90]]], dtype=np.uint8)
    shifted = mmcv.adjust_hue(image, factor, backend)
    red, green, blue = colorsys.hsv_to_rgb(factor % 1, 1, 1)
    # The hue is truncated to 1/255 of the circle, and rounded in two conversions; one step changes a channel by 6.
    np.testing.assert_allclose(shifted[0, 0], [255 * blue, 255 * green, 255 * red], atol=12)
    np.testing.assert_array_equal(shifted[0, 1], image[0, 1])


def test_color_jitter_of_mmpretrain_shifts_the_hue() -> None:
    from mmpretrain.datasets.transforms import ColorJitter

    image = np.full((4, 4, 3), (20, 120, 220), dtype=np.uint8)
    jitter = ColorJitter(hue=(-0.3, -0.3))
    assert not np.array_equal(jitter(dict(img=image.copy()))['img'], image)
