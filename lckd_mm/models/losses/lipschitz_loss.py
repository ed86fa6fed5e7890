from typing import Callable, Dict

import torch
import torch.nn as nn
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.spectral.naming import unknown_name


def _squared_difference(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square()


def _squared_relative_difference(student: Tensor, teacher: Tensor) -> Tensor:
    # Without a gain of the teacher's there is nothing to compare with; a zero teacher map teaches nothing.
    comparable = teacher != 0
    return torch.where(comparable, student / teacher.where(comparable, teacher.new_ones(())) - 1, 0.0).square()


def _squared_log_ratio(student: Tensor, teacher: Tensor) -> Tensor:
    comparable = (teacher != 0) & (student != 0)
    ones = teacher.new_ones(())
    ratio = student.where(comparable, ones).log() - teacher.where(comparable, ones).log()
    return ratio.square()


_DISTANCES: Dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(
    mse=_squared_difference, relative=_squared_relative_difference, log=_squared_log_ratio
)


@MODELS.register_module()
class LipschitzLoss(nn.Module):
    r"""Match the student's spectral norms to the teacher's (paper, section 3.3).

    :math:`w \sum_{i=0}^{L-2} \mathrm{decay}^{L-1-i} \, \mathrm{mean}_b \, d(\sigma^s_{i,b}, \sigma^t_{i,b})` over the L - 1
    pairs of L taps: with the published decay of 0.5 the last pair weighs 1/2, the one before it 1/4, and so on.

    Args:
        loss_weight (float): w. Published: 0.8/200 and the like for CIFAR, 2000/(10000 B) for ImageNet. Defaults to 1.0.
        decay (float): Weight of a pair over that of the next one, in (0, 1]. Defaults to 0.5, published.
        distance (str): ``'mse'``, (s - t)^2, published; ``'relative'``, (s/t - 1)^2, free of the features' scale;
            ``'log'``, (log s - log t)^2, which weighs a gain too high by a factor as one too low. Where ``'relative'``
            and ``'log'`` are not defined (norm 0) they are 0. Defaults to ``'mse'``.

    Shape:
        - student: (L - 1, B).
        - teacher: (L - 1, B); carries no gradient.
        - Output: scalar.

    Raises:
        ValueError: Unknown ``distance``, ``decay`` outside (0, 1], negative ``loss_weight``, or norms of two shapes.

    Examples:
        >>> LipschitzLoss()(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]]))
        tensor(2.2500)
    """

    def __init__(self, loss_weight: float = 1.0, decay: float = 0.5, distance: str = 'mse') -> None:
        super().__init__()
        if distance not in _DISTANCES:
            raise ValueError(unknown_name('distance', distance, _DISTANCES))
        if not 0 < decay <= 1:
            raise ValueError(f'decay={decay!r} is outside (0, 1]: give 0.5 (published), or 1 to weigh all pairs alike.')
        if not loss_weight >= 0:
            raise ValueError(f'loss_weight={loss_weight!r} would push the norms apart: give 0 or more.')
        self.loss_weight, self.decay, self.distance = loss_weight, decay, distance

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The weighted distance of two (L - 1, B) tensors of spectral norms."""
        if student.shape != teacher.shape or student.dim() != 2:
            raise ValueError(
                f"the student's norms have shape {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}, but both "
                'are (pairs of taps, batch): name as many taps on either side.'
            )
        n_pairs = student.shape[0]
        weights = self.decay ** torch.arange(n_pairs, 0, -1, device=student.device, dtype=student.dtype)
        distances = _DISTANCES[self.distance](student, teacher.detach()).mean(1)
        return self.loss_weight * (weights * distances).sum()
