from collections.abc import Sequence
from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.errors import ConfigValueError, check_number


@MODELS.register_module()
class TapwiseLoss(nn.Module):
    """Sum of a loss over pairs of maps of student and teacher.

    MMRazor's feature losses compare one map with one map. This class applies such a loss to any number of taps, and to all levels of a
    feature pyramid. Each loss reads whole maps, so that the padding of a batch counts, as in MMRazor. Tokens are compared as a map of one
    column, with tokens or with the positions of a map row by row, so that a loss finds channels and positions where it expects them.

    Args:
        loss (dict): Config of a loss whose first two arguments are the student's and the teacher's map.
        loss_weight (float): Factor of the sum. Defaults to 1.0.
        resize (bool): Whether a student's map (B, C, H, W) of another height or width than the teacher's is interpolated bilinearly to
            the teacher's. Defaults to False.
        min_values (int): Number of values per channel (B * H * W) below which the loss of a pair is 0: 2 for a deviation or a relation
            between images, which one value does not have. Defaults to 1.

    Shape:
        - student: K maps (B, C, H, W), or (B, N, C) for tokens.
        - teacher: K maps, likewise.
        - Output: scalar.

    Raises:
        ConfigValueError: Negative ``loss_weight``, or student and teacher have different numbers of maps, or of tokens.

    Example:
        >>> import torch
        >>> loss = TapwiseLoss(dict(type='L2Loss', normalize=False, div_element=True))
        >>> loss([torch.zeros(1, 2, 2, 2)] * 2, [torch.ones(1, 2, 2, 2)] * 2)
        tensor(2.)
    """

    def __init__(self, loss: dict, loss_weight: float = 1.0, resize: bool = False, min_values: int = 1) -> None:
        super().__init__()
        check_number('TapwiseLoss', 'loss_weight', loss_weight)
        self.loss = MODELS.build(loss)
        self.loss_weight = loss_weight
        self.resize = resize
        self.min_values = min_values

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Sum the loss over the pairs of maps."""
        if len(student) != len(teacher):
            raise ConfigValueError(
                f'{type(self.loss).__name__} compares {len(student)} maps of the student with {len(teacher)} of the teacher: name taps '
                'with as many levels in both networks.'
            )
        pairs = [self._pair_tokens(s, t) if 3 in (s.dim(), t.dim()) else (s, t) for s, t in zip(student, teacher)]
        if self.resize:
            pairs = [(_resized(s, t), t) for s, t in pairs]
        # Some losses of MMRazor call `view`, which fails on channels_last maps.
        total: Any = sum(self._compare(s.contiguous(), t.contiguous()) for s, t in pairs)
        return self.loss_weight * total

    def _compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if student.numel() < self.min_values * student.shape[1]:
            # Parameters without a gradient would be an error in distributed training.
            return 0.0 * student.sum()
        loss: Tensor = self.loss(student, teacher)
        return loss

    def _pair_tokens(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return two maps, of which at least one consists of tokens, as (B, C, N, 1)."""
        maps = [(feature.mT if feature.dim() == 3 else feature.flatten(2))[..., None] for feature in (student, teacher)]
        counts = [feature.shape[2] for feature in maps]
        if counts[0] != counts[1]:
            raise ConfigValueError(
                f'{type(self.loss).__name__} compares {counts[0]} positions of the student with {counts[1]} of the teacher, and tokens are '
                'not interpolated: name taps with as many positions in both networks, or set the loss to None.'
            )
        return maps[0], maps[1]


def _resized(student: Tensor, teacher: Tensor) -> Tensor:
    if student.dim() != 4 or student.shape[2:] == teacher.shape[2:]:
        return student
    return F.interpolate(student, size=teacher.shape[2:], mode='bilinear', align_corners=False)
