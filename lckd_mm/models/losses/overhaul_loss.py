from typing import Sequence

import torch.nn as nn
from mmrazor.models.losses import OFDLoss
from mmrazor.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class OverhaulLoss(nn.Module):
    r"""The feature loss of OFD (ICCV 2019, section 3.2) over all taps, for any number of them.

    :math:`w \sum_{i=0}^{L-1} \mathrm{decay}^{L-1-i} \, d_p(s_i, t_i) / (B \cdot \mathrm{mul\_factor})`, with the partial L2
    distance :math:`d_p`, MMRazor's ``OFDLoss``: squared differences, where the student is above the target or the target above
    zero. The last tap weighs 1, the one before it 1/2, and so on.

    Args:
        loss_weight (float): w. Defaults to 1.0.
        mul_factor (float): Divisor. Published: 1000 for CIFAR, 10000 for ImageNet, 1e5 for segmentation. Defaults to 1000.
        decay (float): Weight of a tap over that of the next one, in (0, 1]. Defaults to 0.5, published.

    Shape:
        - student: L maps (B, C, H, W), adapted to the teacher's channels.
        - teacher: L maps of the same shapes, cut off at their margins by :class:`MarginConnector`.
        - Output: scalar.

    Raises:
        ValueError: ``decay`` outside (0, 1], ``mul_factor`` not positive, negative ``loss_weight``.
    """

    def __init__(self, loss_weight: float = 1.0, mul_factor: float = 1000.0, decay: float = 0.5) -> None:
        super().__init__()
        if not 0 < decay <= 1:
            raise ValueError(f'decay={decay!r} is outside (0, 1]: give 0.5 (published), or 1 to weigh all taps alike.')
        if not mul_factor > 0:
            raise ValueError(f'mul_factor={mul_factor!r} divides the loss: give a positive number, 1000 say.')
        if not loss_weight >= 0:
            raise ValueError(f'loss_weight={loss_weight!r} would push the maps apart: give 0 or more.')
        self.loss_weight, self.decay = loss_weight, decay
        self.partial_l2 = OFDLoss(mul_factor=mul_factor)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The weighted partial distance of two sequences of maps."""
        loss = sum(
            self.decay ** (len(teacher) - 1 - i) * self.partial_l2(s, t)
            for i, (s, t) in enumerate(zip(student, teacher))
        )
        return self.loss_weight * loss
