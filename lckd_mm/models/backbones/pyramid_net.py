from collections.abc import Sequence
from typing import Any

from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from lckd_mm.errors import ConfigValueError

from .staged_backbone import PUBLISHED_INIT, StagedBackbone


class _PyramidBlock(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions.

    A BN layer precedes each convolution and follows the last. No ReLU precedes the first convolution.

    Args:
        in_channels (int): Channels of the input.
        channels (int): Channels of the convolutions; the output has ``expansion`` times as many.
        stride (int): Stride of the block.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.out_channels = stride, channels * self.expansion
        convolutions = self._convolutions(in_channels, channels, stride)
        self.num_convolutions = len(convolutions)
        for index, (conv_in, conv_out, kernel_size, conv_stride) in enumerate(convolutions, 1):
            convolution = nn.Conv2d(conv_in, conv_out, kernel_size, conv_stride, kernel_size // 2, bias=False)
            setattr(self, f'bn{index}', nn.BatchNorm2d(conv_in))
            setattr(self, f'conv{index}', convolution)
        setattr(self, f'bn{self.num_convolutions + 1}', nn.BatchNorm2d(self.out_channels))
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def _convolutions(in_channels: int, channels: int, stride: int) -> list[tuple[int, int, int, int]]:
        """Return (input channels, output channels, kernel size, stride) of each convolution."""
        return [(in_channels, channels, 3, stride), (channels, channels, 3, 1)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        out = x
        for index in range(1, self.num_convolutions + 1):
            out = getattr(self, f'bn{index}')(out)
            out = getattr(self, f'conv{index}')(self.relu(out) if index > 1 else out)
        out = getattr(self, f'bn{self.num_convolutions + 1}')(out)
        shortcut = F.avg_pool2d(x, self.stride, ceil_mode=True) if self.stride > 1 else x
        # The shortcut has no parameters. Zeros fill the channels that the block adds.
        return out + F.pad(shortcut, (0, 0, 0, 0, 0, self.out_channels - x.shape[1]))


class _PyramidBottleneck(_PyramidBlock):
    """Pre-activation residual block of 1x1, 3x3 and 1x1 convolutions."""

    expansion = 4

    @staticmethod
    def _convolutions(in_channels: int, channels: int, stride: int) -> list[tuple[int, int, int, int]]:
        return [(in_channels, channels, 1, 1), (channels, channels, 3, stride), (channels, 4 * channels, 1, 1)]


@MODELS.register_module()
class PyramidNet(StagedBackbone):
    """PyramidNet for CIFAR, in which each block has slightly more channels than the previous one.

    The outputs are those of ``layer1``, ``layer2`` and ``layer3``; the last one has passed ``bn_final`` and the ReLU. LCKD
    and OFD have three taps before a ReLU. Two of them are in the first blocks of ``layer2`` and ``layer3``: the second BN
    layer of a bottleneck (``layer2.0.bn2``), or the first BN layer of a basic block (``layer2.0.bn1``). The third tap is
    ``bn_final``.

    Source: Deep Pyramidal Residual Networks, Han, Kim and Kim, CVPR 2017, arXiv 1610.02915.

    Args:
        depth (int): Number of layers: 9 n + 2 with bottlenecks (200, for example), 6 n + 2 without (110, for example).
        alpha (float): Number of channels that all blocks together add to the 16 channels of the stem.
        bottleneck (bool): Whether blocks consist of 1x1, 3x3 and 1x1 convolutions. Defaults to True.
        out_indices (Sequence[int]): Stages to return. Defaults to (2,).
        frozen_stages (int): Number of frozen stages, see :class:`StagedBackbone`. Defaults to -1.
        norm_eval (bool): Whether BN layers use their running statistics during training. Defaults to False.
        init_cfg (dict | list[dict], optional): Initialization. Defaults to None, the published one.

    Shape:
        - Input: (B, 3, H, W).
        - Output: (B, C1, H, W), (B, C2, H / 2, W / 2) and (B, C3, H / 4, W / 4), as far as ``out_indices`` contains them.
          C3 is 16 + ``alpha``, with bottlenecks four times that.

    Raises:
        ConfigValueError: ``depth`` does not correspond to a whole number of blocks, or a stage does not exist.

    Example:
        >>> import torch
        >>> PyramidNet(depth=110, alpha=84, bottleneck=False)(torch.randn(1, 3, 32, 32))[0].shape
        torch.Size([1, 100, 8, 8])
    """

    stem = ('conv1', 'bn1')
    stages = ('layer1', 'layer2', 'layer3')
    ending = ('bn_final', 'relu')

    def __init__(
        self,
        depth: int,
        alpha: float,
        bottleneck: bool = True,
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(len(self.stages), out_indices, frozen_stages, norm_eval, init_cfg or list(PUBLISHED_INIT))
        block = _PyramidBottleneck if bottleneck else _PyramidBlock
        layers_per_n = 9 if bottleneck else 6
        if (depth - 2) % layers_per_n or depth <= 2:
            kind, example = ('with', 200) if bottleneck else ('without', 110)
            raise ConfigValueError(
                f'PyramidNet: depth={depth} is not {layers_per_n} n + 2, as required {kind} bottlenecks: '
                f'use {example} for example.'
            )
        num_blocks = (depth - 2) // layers_per_n
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        width, channels = 16.0, 16
        for stage, name in enumerate(self.stages):
            blocks = []
            for index in range(num_blocks):
                width += alpha / (3 * num_blocks)
                blocks.append(block(channels, round(width), stride=2 if stage and not index else 1))
                channels = blocks[-1].out_channels
            setattr(self, name, nn.Sequential(*blocks))
        self.bn_final = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.out_channels = channels
        self.train()
