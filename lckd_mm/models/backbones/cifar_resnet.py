from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones.resnet import BasicBlock
from mmrazor.registry import MODELS
from torch import nn

from lckd_mm.errors import ConfigValueError

from .staged_backbone import PUBLISHED_INIT, StagedBackbone


@MODELS.register_module()
class CIFARResNet(StagedBackbone):
    """ResNet with 6 n + 2 layers for images of 32 x 32 pixels: ResNet-20, 32, 44, 56, 110.

    Shortcuts that change the size are 1x1 convolutions, as in the code of the distillation papers. The taps of LCKD and
    OFD are ``layer1``, ``layer2`` and ``layer3`` before their last ReLU.

    Source: Deep Residual Learning for Image Recognition, He et al., CVPR 2016, arXiv 1512.03385, section 4.2.

    Args:
        depth (int): Number of layers, 6 n + 2.
        base_channels (int): Channels of the first stage. The other stages have two and four times as many. Defaults to 16.
        out_indices (Sequence[int]): Stages to return. Defaults to (2,).
        frozen_stages (int): Number of frozen stages, see :class:`StagedBackbone`. Defaults to -1.
        norm_eval (bool): Whether BN layers use their running statistics during training. Defaults to False.
        init_cfg (dict | list[dict], optional): Initialization. Defaults to None, the published one.

    Shape:
        - Input: (B, 3, H, W).
        - Output: (B, base_channels, H, W), (B, 2 base_channels, H / 2, W / 2) and (B, 4 base_channels, H / 4, W / 4), as
          far as ``out_indices`` contains them.

    Raises:
        ConfigValueError: ``depth`` is not 6 n + 2, or a stage does not exist.

    Example:
        >>> import torch
        >>> CIFARResNet(depth=56)(torch.randn(1, 3, 32, 32))[0].shape
        torch.Size([1, 64, 8, 8])
    """

    stem = ('conv1', 'bn1', 'relu')
    stages = ('layer1', 'layer2', 'layer3')

    def __init__(
        self,
        depth: int,
        base_channels: int = 16,
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(len(self.stages), out_indices, frozen_stages, norm_eval, init_cfg or list(PUBLISHED_INIT))
        if (depth - 2) % 6 or depth <= 2:
            raise ConfigValueError(f'CIFARResNet: depth={depth} is not 6 n + 2: use 20, 32, 44, 56 or 110 for example.')
        self.conv1 = nn.Conv2d(3, base_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.relu = nn.ReLU(inplace=True)
        in_channels = base_channels
        for stage, name in enumerate(self.stages):
            out_channels = base_channels * 2**stage
            setattr(self, name, _make_stage(in_channels, out_channels, (depth - 2) // 6, stride=2 if stage else 1))
            in_channels = out_channels
        self.out_channels = in_channels
        self.train()


def _make_stage(in_channels: int, out_channels: int, num_blocks: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride > 1:
        convolution = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))
    blocks = [BasicBlock(in_channels, out_channels, stride=stride, downsample=shortcut)]
    blocks += [BasicBlock(out_channels, out_channels) for _ in range(num_blocks - 1)]
    return nn.Sequential(*blocks)
