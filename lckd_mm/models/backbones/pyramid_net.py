from typing import Any, List, Optional, Sequence, Union

import torch.nn as nn
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor

from .staged_backbone import PUBLISHED_INIT, StagedBackbone


class _PyramidBlock(nn.Module):
    """Pre-activation residual block: a BN before, between and after the convolutions, no ReLU before the first."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.out_channels = stride, channels * self.expansion
        for index, (inside, outside, kernel, step) in enumerate(self._convolutions(in_channels, channels, stride), 1):
            setattr(self, f'bn{index}', nn.BatchNorm2d(inside))
            setattr(self, f'conv{index}', nn.Conv2d(inside, outside, kernel, step, kernel // 2, bias=False))
        self.n_convolutions = index
        setattr(self, f'bn{index + 1}', nn.BatchNorm2d(self.out_channels))
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def _convolutions(in_channels: int, channels: int, stride: int) -> list:
        return [(in_channels, channels, 3, stride), (channels, channels, 3, 1)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        out = x
        for index in range(1, self.n_convolutions + 1):
            out = getattr(self, f'bn{index}')(out)
            out = getattr(self, f'conv{index}')(self.relu(out) if index > 1 else out)
        out = getattr(self, f'bn{self.n_convolutions + 1}')(out)
        shortcut = F.avg_pool2d(x, self.stride, ceil_mode=True) if self.stride > 1 else x
        # The shortcut has no parameters: the channels that the block adds are zero in it.
        return out + F.pad(shortcut, (0, 0, 0, 0, 0, self.out_channels - x.shape[1]))


class _PyramidBottleneck(_PyramidBlock):
    expansion = 4

    @staticmethod
    def _convolutions(in_channels: int, channels: int, stride: int) -> list:
        return [(in_channels, channels, 1, 1), (channels, channels, 3, stride), (channels, 4 * channels, 1, 1)]


@MODELS.register_module()
class PyramidNet(StagedBackbone):
    """PyramidNet for CIFAR: every block is a little wider than the one before it.

    Deep Pyramidal Residual Networks, Han, Kim and Kim, CVPR 2017, arXiv 1610.02915. The outputs are those of ``layer1``,
    ``layer2`` and ``layer3`` (after ``bn_final`` and the ReLU). The taps of LCKD and OFD, before a ReLU: the second BN of
    the first block of layers 2 and 3 with bottlenecks (``layer2.0.bn2``), the first without (``layer2.0.bn1``), and
    ``bn_final``.

    Args:
        depth (int): 9 n + 2 with bottlenecks, 6 n + 2 without: 200, 110.
        alpha (float): How many channels are added over all blocks, to the 16 of the stem.
        bottleneck (bool): Whether blocks are 1x1, 3x3, 1x1 convolutions. Defaults to True.
        out_indices (Sequence[int]): Stages to return. Defaults to (2,).
        frozen_stages, norm_eval: As in :class:`StagedBackbone`.
        init_cfg (dict | List[dict], optional): Defaults to the published initialisation.

    Raises:
        ValueError: A depth that fits no whole number of blocks, or a stage that there is not.

    Examples:
        >>> PyramidNet(depth=110, alpha=84, bottleneck=False)(torch.randn(1, 3, 32, 32))[0].shape
        torch.Size([1, 100, 8, 8])
    """

    stem, stages, ending = ('conv1', 'bn1'), ('layer1', 'layer2', 'layer3'), ('bn_final', 'relu')

    def __init__(
        self,
        depth: int,
        alpha: float,
        bottleneck: bool = True,
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: Optional[Union[dict, List[dict]]] = None,
    ) -> None:
        super().__init__(3, out_indices, frozen_stages, norm_eval, init_cfg or list(PUBLISHED_INIT))
        block: Any = _PyramidBottleneck if bottleneck else _PyramidBlock
        convolutions = 9 if bottleneck else 6
        if (depth - 2) % convolutions or depth <= 2:
            kind = 'with' if bottleneck else 'without'
            raise ValueError(f'depth={depth}: a PyramidNet {kind} bottlenecks has {convolutions} n + 2 layers.')
        n_blocks = (depth - 2) // convolutions
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        width, channels = 16.0, 16
        for stage in range(3):
            blocks = []
            for index in range(n_blocks):
                width += alpha / (3 * n_blocks)
                blocks.append(block(channels, round(width), stride=2 if stage and not index else 1))
                channels = blocks[-1].out_channels
            setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
        self.bn_final = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.out_channels = channels
        self.train()
