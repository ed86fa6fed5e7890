from typing import Any, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from mmrazor.registry import MODELS
from torch import Tensor
from torch.autograd.function import once_differentiable


@MODELS.register_module()
class OverhaulLoss(nn.Module):
    r"""The feature loss of OFD (ICCV 2019, section 3.2) over all taps, for any number of them.

    :math:`w \sum_{i=0}^{L-1} \mathrm{decay}^{L-1-i} \, d_p(s_i, t_i) / (B \cdot \mathrm{mul\_factor})`, with the partial L2
    distance :math:`d_p`: squared differences, where the student is above the target or the target above zero. Of one tap it is
    MMRazor's ``OFDLoss``, with fewer passes over the maps, and a gradient in the layout of the student's map. The last tap
    weighs 1, the one before it 1/2, and so on.

    Args:
        loss_weight (float): w. Defaults to 1.0.
        mul_factor (float): Divisor. Published: 1000 for CIFAR, 10000 for ImageNet, 1e5 for segmentation. Defaults to 1000.
        decay (float): Weight of a tap over that of the next one, in (0, 1]. Defaults to 0.5, published.
        divisors (Sequence[float], optional): What each tap's distance is divided by, instead of ``decay``. Published for
            DeepLabV3+: (8, 4, 2, 1, 1, 16). Defaults to None.

    Shape:
        - student: L maps (B, C, H, W), adapted to the teacher's channels.
        - teacher: L maps of the same shapes, cut off at their margins by :class:`MarginConnector`.
        - Output: scalar.

    Raises:
        ValueError: ``decay`` outside (0, 1], ``mul_factor`` or a divisor not positive, not one divisor for each tap, negative
            ``loss_weight``.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        mul_factor: float = 1000.0,
        decay: float = 0.5,
        divisors: Optional[Sequence[float]] = None,
    ) -> None:
        super().__init__()
        if not 0 < decay <= 1:
            raise ValueError(f'decay={decay!r} is outside (0, 1]: give 0.5 (published), or 1 to weigh all taps alike.')
        if not mul_factor > 0:
            raise ValueError(f'mul_factor={mul_factor!r} divides the loss: give a positive number, 1000 say.')
        if not loss_weight >= 0:
            raise ValueError(f'loss_weight={loss_weight!r} would push the maps apart: give 0 or more.')
        if divisors is not None and not all(divisor > 0 for divisor in divisors):
            raise ValueError(f'divisors={tuple(divisors)} must all be positive.')
        self.loss_weight, self.decay, self.divisors = loss_weight, decay, divisors
        self.mul_factor = mul_factor

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The weighted partial distance of two sequences of maps."""
        n_taps = len(teacher)
        divisors = self.divisors or [self.decay ** -(n_taps - 1 - i) for i in range(n_taps)]
        if len(divisors) != n_taps:
            raise ValueError(
                f'divisors={tuple(divisors)} are {len(divisors)}, but there are {n_taps} taps: give one for each.'
            )
        weight = self.loss_weight / (len(teacher[0]) * self.mul_factor)
        return weight * sum(_PartialSquares.apply(s, t) / d for s, t, d in zip(student, teacher, divisors))


class _PartialSquares(torch.autograd.Function):
    """Sum over a map of (student - teacher)^2, where student > teacher or teacher > 0; float32 at least.

    Autograd's gradient of it is contiguous whatever the map is, and a BN that gets a contiguous gradient of a channels_last map
    takes so long that a whole training step gets 1.3 to 1.45 times as long on a CPU (docs/benchmarks.md).
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        difference = student.to(torch.promote_types(student.dtype, torch.float32)) - teacher
        difference.masked_fill_((student <= teacher) & (teacher <= 0), 0)
        ctx.save_for_backward(difference)
        ctx.dtype = student.dtype
        # Image by image: float32 does not hold a sum over the whole batch to more than four digits.
        return torch.linalg.vector_norm(difference, dim=tuple(range(1, difference.dim()))).square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return (difference * (2 * grad)).to(ctx.dtype), None
