import torch.nn as nn
from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PointwiseAdapter(BaseConnector):
    """1x1 convolution and batch normalization from the student's channel count to the teacher's.

    The adapter is trained with the student and is not part of the exported student.

    Args:
        in_channels (int): Number of channels of the student's tap.
        out_channels (int): Number of channels of the teacher's tap.
        affine (bool): Whether gain and bias of the BN are trained. Without them, the adapter cannot change the scale of a channel.
            Defaults to True (published).
        init_cfg (dict, optional): A different initialization. Defaults to None.

    Shape:
        - Input: (B, in_channels, H, W), or (B, N, in_channels) for tokens.
        - Output: (B, out_channels, H, W), or (B, N, out_channels).

    Source:
        The authors' code, and OFD (ICCV 2019), section 3.3: no bias, weights from N(0, 2 / fan_out), BN weight 1 and bias 0.

    Example:
        >>> import torch
        >>> PointwiseAdapter(8, 16)(torch.randn(2, 8, 4, 4)).shape
        torch.Size([2, 16, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool = True, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, affine=affine)
        # The fan_out of a 1x1 convolution is its number of output channels; the gain of a ReLU gives the variance 2 / fan_out.
        nn.init.kaiming_normal_(self.conv.weight, mode='fan_out', nonlinearity='relu')

    def forward_train(self, feature: Tensor) -> Tensor:
        """Map the channels at each position."""
        if feature.dim() == 3:
            return self.bn(self.conv(feature.transpose(1, 2).unsqueeze(3))).squeeze(3).transpose(1, 2)
        return self.bn(self.conv(feature))
