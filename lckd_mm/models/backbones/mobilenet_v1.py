from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmrazor.registry import MODELS
from torch import nn

from lckd_mm.errors import ConfigValueError

from .staged_backbone import PUBLISHED_INIT, StagedBackbone

# Output channels of the depthwise separable convolutions of each stage (table 1 of the paper). The first convolution of
# every stage except the first has stride 2.
_STAGE_WIDTHS = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))


@MODELS.register_module()
class MobileNetV1(StagedBackbone):
    """MobileNet v1.

    The taps of LCKD and OFD, each before a ReLU, are ``layer2`` (128 channels, stride 4) to ``layer5`` (1024 channels,
    stride 32).

    Source: MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, Howard et al., 2017,
    arXiv 1704.04861, table 1.

    Args:
        widen_factor (float): Factor of all channel counts. Defaults to 1.0.
        num_stages (int): Number of stages, 1 to 5. A detector may not need the last stage. Defaults to 5.
        out_indices (Sequence[int]): Stages to return. Defaults to (-1,).
        frozen_stages (int): Number of frozen stages, see :class:`StagedBackbone`. Defaults to -1.
        norm_eval (bool): Whether BN layers use their running statistics during training. Defaults to False.
        init_cfg (dict | list[dict], optional): Initialization. Defaults to None: N(0, 2 / fan_out) for convolutions,
            weight 1 and bias 0 for BN layers.

    Shape:
        - Input: (B, 3, H, W).
        - Output: (B, C, H / s, W / s) for each of ``out_indices``, with C = 64, 128, 256, 512, 1024 times ``widen_factor``
          and s = 2, 4, 8, 16, 32.

    Raises:
        ConfigValueError: ``num_stages`` is not 1 to 5, or a stage does not exist.

    Example:
        >>> import torch
        >>> MobileNetV1()(torch.randn(1, 3, 224, 224))[0].shape
        torch.Size([1, 1024, 7, 7])
    """

    stem = ('conv1',)
    stages: Sequence[str] = ('layer1', 'layer2', 'layer3', 'layer4', 'layer5')

    def __init__(
        self,
        widen_factor: float = 1.0,
        num_stages: int = 5,
        out_indices: Sequence[int] = (-1,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        if not 1 <= num_stages <= len(_STAGE_WIDTHS):
            raise ConfigValueError(f'MobileNetV1: num_stages={num_stages} is invalid: use 1 to {len(_STAGE_WIDTHS)}.')
        super().__init__(num_stages, out_indices, frozen_stages, norm_eval, init_cfg or list(PUBLISHED_INIT))
        self.stages = self.stages[:num_stages]
        norm_cfg = dict(type='BN')
        in_channels = round(32 * widen_factor)
        self.conv1 = ConvModule(3, in_channels, 3, stride=2, padding=1, norm_cfg=norm_cfg)
        for stage, (name, widths) in enumerate(zip(self.stages, _STAGE_WIDTHS, strict=False)):
            blocks = []
            for index, width in enumerate(widths):
                out_channels = round(width * widen_factor)
                stride = 2 if stage and not index else 1
                blocks.append(
                    DepthwiseSeparableConvModule(in_channels, out_channels, 3, stride, padding=1, norm_cfg=norm_cfg)
                )
                in_channels = out_channels
            setattr(self, name, nn.Sequential(*blocks))
        self.out_channels = in_channels
        self.train()
