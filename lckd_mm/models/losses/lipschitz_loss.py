import functools
from collections.abc import Callable

import torch
import torch.nn as nn
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.errors import ConfigValueError, check_number, unknown_name


def _squared_difference(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square()


def _squared_relative_difference(student: Tensor, teacher: Tensor) -> Tensor:
    # The ratio to a teacher's norm of 0 is undefined; such a pair contributes 0.
    undefined = teacher == 0
    return (student / teacher.masked_fill(undefined, 1) - 1).masked_fill(undefined, 0).square()


def _squared_log_ratio(student: Tensor, teacher: Tensor) -> Tensor:
    undefined = torch.minimum(student.detach(), teacher) == 0
    return (student.masked_fill(undefined, 1).log() - teacher.masked_fill(undefined, 1).log()).square()


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(
    mse=_squared_difference, relative=_squared_relative_difference, log=_squared_log_ratio
)


@MODELS.register_module()
class LipschitzLoss(nn.Module):
    r"""Distance between the spectral norms of student and teacher.

    :math:`w \sum_{i=0}^{L-2} \mathrm{decay}^{L-1-i} \, \mathrm{mean}_b \, d(\sigma^s_{i,b}, \sigma^t_{i,b})` over the L - 1
    pairs of L taps. With the published decay of 0.5 the last pair has the weight 1/2, the pair before it 1/4, and so on.

    Args:
        loss_weight (float): w. Published: 0.8/200 and similar values for CIFAR, 2000/(10000 B) for ImageNet. Defaults to 1.0.
        decay (float): Ratio of the weight of a pair to the weight of the next pair, in (0, 1]. Defaults to 0.5, published.
        distance (str): ``'mse'``, (s - t)^2, published; ``'relative'``, (s/t - 1)^2, independent of the scale of the features;
            ``'log'``, (log s - log t)^2, which penalizes over- and underestimation by a factor symmetrically. ``'relative'`` and
            ``'log'`` are 0 where they are not defined (norm 0). Defaults to ``'mse'``.

    Shape:
        - student: (L - 1, B).
        - teacher: (L - 1, B); receives no gradient.
        - Output: scalar.

    Raises:
        ConfigValueError: Unknown ``distance``, ``decay`` outside (0, 1], negative ``loss_weight``, or norms of different shapes.

    Source:
        Paper, section 3.3.

    Example:
        >>> LipschitzLoss()(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]]))
        tensor(2.2500)
    """

    reports_norms = True

    def __init__(self, loss_weight: float = 1.0, decay: float = 0.5, distance: str = 'mse') -> None:
        super().__init__()
        if distance not in _DISTANCES:
            raise ConfigValueError(unknown_name('LipschitzLoss: distance', distance, _DISTANCES))
        check_number('LipschitzLoss', 'decay', decay)
        if not 0 < decay <= 1:
            raise ConfigValueError(
                f'LipschitzLoss: decay={decay!r} is outside (0, 1]: use 0.5 (published), or 1 for equal weights.'
            )
        check_number('LipschitzLoss', 'loss_weight', loss_weight)
        self.loss_weight, self.decay, self.distance = loss_weight, decay, distance

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the weighted distance of two (L - 1, B) tensors of spectral norms."""
        if student.shape != teacher.shape or student.dim() != 2:
            raise ConfigValueError(
                f"the student's norms have the shape {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}, but both must be "
                '(pairs of taps, batch): name as many taps in both networks.'
            )
        weights = _weights(self.decay, *student.shape, student.dtype, student.device)
        return self.loss_weight * (weights * _DISTANCES[self.distance](student, teacher.detach())).sum()


@functools.lru_cache(maxsize=64)
def _weights(decay: float, num_pairs: int, num_images: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the weight of each pair divided by the number of images, (L - 1, 1)."""
    exponents = torch.arange(num_pairs, 0, -1, dtype=torch.float64)
    # Without images the sum is 0, whatever the weights.
    return (decay**exponents / max(num_images, 1)).to(device, dtype)[:, None]
