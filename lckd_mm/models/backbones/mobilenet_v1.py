from typing import List, Optional, Sequence, Union

import torch.nn as nn
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmrazor.registry import MODELS

from .staged_backbone import PUBLISHED_INIT, StagedBackbone

# Output channels of the depthwise separable convolutions, stage by stage; the first of each stage but the first has
# stride 2 (table 1 of the paper).
_STAGES = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))


@MODELS.register_module()
class MobileNetV1(StagedBackbone):
    """MobileNet v1.

    MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, Howard et al., arXiv 1704.04861.
    The taps of LCKD and OFD, before a ReLU, are ``layer2`` (128 channels, stride 4) to ``layer5`` (1024, stride 32).

    Args:
        widen_factor (float): Multiplies all channels. Defaults to 1.0.
        num_stages (int): Stages built, up to five: a detector may have no use for the last. Defaults to 5.
        out_indices (Sequence[int]): Stages to return. Defaults to (-1,).
        frozen_stages, norm_eval: As in :class:`StagedBackbone`.
        init_cfg (dict | List[dict], optional): Defaults to N(0, 2 / fan_out) and BNs of 1 and 0.

    Raises:
        ValueError: A stage that there is not.

    Examples:
        >>> MobileNetV1()(torch.randn(1, 3, 224, 224))[0].shape
        torch.Size([1, 1024, 7, 7])
    """

    stem, stages = ('conv1',), ('layer1', 'layer2', 'layer3', 'layer4', 'layer5')

    def __init__(
        self,
        widen_factor: float = 1.0,
        num_stages: int = 5,
        out_indices: Sequence[int] = (-1,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: Optional[Union[dict, List[dict]]] = None,
    ) -> None:
        if not 1 <= num_stages <= len(_STAGES):
            raise ValueError(f'num_stages={num_stages}: MobileNet v1 has {len(_STAGES)}.')
        super().__init__(num_stages, out_indices, frozen_stages, norm_eval, init_cfg or list(PUBLISHED_INIT))
        self.stages = self.stages[:num_stages]
        norm = dict(type='BN')
        channels = round(32 * widen_factor)
        self.conv1 = ConvModule(3, channels, 3, stride=2, padding=1, norm_cfg=norm)
        for stage, widths in enumerate(_STAGES[:num_stages]):
            blocks = []
            for index, width in enumerate(widths):
                out = round(width * widen_factor)
                stride = 2 if stage and not index else 1
                blocks.append(DepthwiseSeparableConvModule(channels, out, 3, stride, padding=1, norm_cfg=norm))
                channels = out
            setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
        self.out_channels = channels
        self.train()
