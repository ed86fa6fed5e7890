from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from mmrazor.registry import MODELS
from torch import Tensor
from torch.autograd.function import once_differentiable

from lckd_mm.errors import ConfigValueError, check_number
from lckd_mm.spectral.pairing import position_weights


@MODELS.register_module()
class OverhaulLoss(nn.Module):
    r"""The feature loss of OFD over any number of taps.

    :math:`w \sum_{i=0}^{L-1} \mathrm{decay}^{L-1-i} \, d_p(s_i, t_i) / (B \cdot \mathrm{mul\_factor})` with the partial L2
    distance :math:`d_p`: the sum of the squared differences at the elements where the student is above the target or the target is
    above zero. The last tap has the weight 1, the tap before it 1/2, and so on. For one tap it equals MMRazor's ``OFDLoss``, but reads
    the maps fewer times and returns a gradient in the memory layout of the student's map. In a padded batch, each position is weighted
    by the share of its cell inside the image: 1 inside, 0 in the padding, a fraction at the border.

    Args:
        loss_weight (float): w. Defaults to 1.0.
        mul_factor (float): Divisor. Published: 1000 for CIFAR, 10000 for ImageNet, 1e5 for segmentation. Defaults to 1000.
        decay (float): Ratio of the weight of a tap to the weight of the next tap, in (0, 1]. Defaults to 0.5, published.
        divisors (Sequence[float], optional): Divisor of each tap's distance, in place of ``decay``. Published for DeepLabV3+:
            (8, 4, 2, 1, 1, 16). Defaults to None.

    Shape:
        - student: L maps (B, C, H, W), adapted to the teacher's channel counts.
        - teacher: L maps of the same shapes, clamped at their margins by :class:`MarginConnector`.
        - valid_ratios: (B, 2), the share of height and width of each image that is not padding, or None.
        - Output: scalar.

    Raises:
        ConfigValueError: ``decay`` outside (0, 1], ``mul_factor`` or a divisor that is not positive, a number of divisors that differs
            from the number of taps, or a negative ``loss_weight``.

    Source:
        OFD (ICCV 2019, arXiv 1904.01866), section 3.2.

    Example:
        >>> student, target = torch.tensor([[[[1.0]]]]), torch.tensor([[[[3.0]]]])
        >>> OverhaulLoss(mul_factor=1.0)([student], [target])
        tensor(4.)
    """

    accepts_valid_ratios = True
    accepts_half_precision = True

    def __init__(
        self,
        loss_weight: float = 1.0,
        mul_factor: float = 1000.0,
        decay: float = 0.5,
        divisors: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_number('OverhaulLoss', 'decay', decay)
        if not 0 < decay <= 1:
            raise ConfigValueError(
                f'OverhaulLoss: decay={decay!r} is outside (0, 1]: use 0.5 (published), or 1 for equal weights.'
            )
        check_number('OverhaulLoss', 'mul_factor', mul_factor, is_open=True)
        check_number('OverhaulLoss', 'loss_weight', loss_weight)
        if divisors is not None and not all(divisor > 0 for divisor in divisors):
            raise ConfigValueError(f'OverhaulLoss: divisors={tuple(divisors)} contain a value that is not positive.')
        self.loss_weight, self.decay, self.divisors = loss_weight, decay, divisors
        self.mul_factor = mul_factor

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], valid_ratios: Tensor | None = None
    ) -> Tensor:
        """Compute the weighted partial distance of two sequences of maps; padding is ignored where ``valid_ratios`` are given."""
        num_taps = len(teacher)
        divisors = self.divisors or [self.decay ** -(num_taps - 1 - i) for i in range(num_taps)]
        if len(divisors) != num_taps:
            raise ConfigValueError(
                f'OverhaulLoss: {len(divisors)} divisors {tuple(divisors)} for {num_taps} maps: give one per map.'
            )
        weight = self.loss_weight / (len(teacher[0]) * self.mul_factor)
        roots = [None if valid_ratios is None else _root_weights(feature, valid_ratios) for feature in teacher]
        maps = zip(student, teacher, roots, divisors)
        return weight * sum(_PartialSquares.apply(s, t, root) / d for s, t, root, d in maps)


def _root_weights(feature: Tensor, valid_ratios: Tensor) -> Tensor:
    """Return the square roots of the weights of the positions of a map, (B, 1, H, W)."""
    size = (feature.shape[2], feature.shape[3])
    return position_weights(valid_ratios, size, torch.float32).unflatten(2, size).sqrt()


class _PartialSquares(torch.autograd.Function):
    """Weighted sum over a map of (student - teacher)^2 where student > teacher or teacher > 0, in float32 or float64.

    The gradient of the plain expression is contiguous for every layout of the map. A BN that receives a contiguous gradient for a
    channels_last map is so slow that a training step takes 1.3 to 1.45 times as long on a CPU (docs/performance.md).
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, root_weights: Tensor | None) -> Tensor:
        difference = student.to(torch.promote_types(student.dtype, torch.float32)) - teacher
        difference.masked_fill_((student <= teacher) & (teacher <= 0), 0)
        if root_weights is not None:
            difference.mul_(root_weights)
        ctx.save_for_backward(difference, root_weights)
        ctx.dtype = student.dtype
        # Norms per image: a float32 sum over the whole batch has only four correct digits.
        return torch.linalg.vector_norm(difference, dim=tuple(range(1, difference.dim()))).square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        difference, root_weights = ctx.saved_tensors
        factor = 2 * grad if root_weights is None else 2 * grad * root_weights
        return (difference * factor).to(ctx.dtype), None, None
