from typing import Optional

import torch.nn as nn
from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PointwiseAdapter(BaseConnector):
    """1x1 convolution and batch normalisation from the student's channels to the teacher's.

    The published adapter (the authors' code, and OFD, ICCV 2019, section 3.3): no bias, weights drawn from
    N(0, 2 / fan_out), BN weight 1 and bias 0. It is trained with the student and dropped afterwards.

    Args:
        in_channels (int): Channels of the student's tap.
        out_channels (int): Channels of the teacher's tap.
        init_cfg (dict, optional): Another initialisation. Defaults to None.

    Shape:
        - Input: (B, in_channels, H, W), or (B, N, in_channels) for tokens.
        - Output: the same with out_channels.
    """

    def __init__(self, in_channels: int, out_channels: int, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        # Of a 1x1 convolution, fan_out is the number of output channels; the gain of a ReLU makes the variance 2 / fan_out.
        nn.init.kaiming_normal_(self.conv.weight, mode='fan_out', nonlinearity='relu')

    def forward_train(self, feature: Tensor) -> Tensor:
        """Map every position's channels."""
        if feature.dim() == 3:
            return self.bn(self.conv(feature.transpose(1, 2).unsqueeze(3))).squeeze(3).transpose(1, 2)
        return self.bn(self.conv(feature))
