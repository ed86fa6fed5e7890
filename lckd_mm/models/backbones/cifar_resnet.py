from typing import List, Optional, Sequence, Union

import torch.nn as nn
from mmpretrain.models.backbones.resnet import BasicBlock
from mmrazor.registry import MODELS

from .staged_backbone import PUBLISHED_INIT, StagedBackbone


@MODELS.register_module()
class CIFARResNet(StagedBackbone):
    """The ResNet of 6 n + 2 layers for images of 32 x 32 pixels: 20, 32, 44, 56, 110.

    Deep Residual Learning for Image Recognition, He et al., CVPR 2016, arXiv 1512.03385, section 4.2; the shortcuts that
    change size are 1x1 convolutions, as in the code of the distillation papers. The taps of LCKD and OFD are ``layer1``,
    ``layer2`` and ``layer3`` before their last ReLU.

    Args:
        depth (int): 6 n + 2.
        base_channels (int): Channels of the first stage; the others have twice and four times as many. Defaults to 16.
        out_indices (Sequence[int]): Stages to return. Defaults to (2,).
        frozen_stages, norm_eval: As in :class:`StagedBackbone`.
        init_cfg (dict | List[dict], optional): Defaults to the published initialisation.

    Raises:
        ValueError: A depth that is not 6 n + 2, or a stage that there is not.

    Examples:
        >>> CIFARResNet(depth=56)(torch.randn(1, 3, 32, 32))[0].shape
        torch.Size([1, 64, 8, 8])
    """

    stem, stages = ('conv1', 'bn1', 'relu'), ('layer1', 'layer2', 'layer3')

    def __init__(
        self,
        depth: int,
        base_channels: int = 16,
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: Optional[Union[dict, List[dict]]] = None,
    ) -> None:
        super().__init__(3, out_indices, frozen_stages, norm_eval, init_cfg or list(PUBLISHED_INIT))
        if (depth - 2) % 6 or depth <= 2:
            raise ValueError(f'depth={depth}: a ResNet for CIFAR has 6 n + 2 layers, 56 say.')
        self.conv1 = nn.Conv2d(3, base_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.relu = nn.ReLU(inplace=True)
        channels = base_channels
        for stage in range(3):
            blocks = []
            for index in range((depth - 2) // 6):
                out, stride = base_channels * 2**stage, 2 if stage and not index else 1
                shortcut = None
                if stride > 1:
                    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
                blocks.append(BasicBlock(channels, out, stride=stride, downsample=shortcut))
                channels = out
            setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
        self.out_channels = channels
        self.train()
