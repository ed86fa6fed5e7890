from typing import Sequence

import torch
import torch.nn as nn
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.spectral.directions import check_n_directions, gains_along, leading_directions


@MODELS.register_module()
class LipschitzDirectionLoss(nn.Module):
    r"""Match what the student's blocks make of the teacher's leading directions: beyond the paper, within its idea.

    The spectral norm is the gain along one direction, which each network chooses for itself. Here the teacher's k leading
    singular directions are handed over with their gains: :math:`w \sum_i \mathrm{decay}^{L-1-i} \, \mathrm{mean}_b \lVert
    U_i^\top T_i^s V_i - \Sigma_i \rVert_F^2 / \lVert \Sigma_i \rVert_F^2` over the L - 1 pairs of L taps, with the teacher's
    :math:`U_i, \Sigma_i, V_i` and the student's transmitting matrix :math:`T_i^s`. It is free of the features' scale, zero
    where the student's matrix is the teacher's, and cheaper than a spectral norm: the student's maps are read once.

    Args:
        loss_weight (float): w. Defaults to 1.0.
        n_directions (int): k. Defaults to 4.
        n_iters (int): Products of the Lanczos iteration on the teacher's maps, at least k. Defaults to 5.
        decay (float): Weight of a pair over that of the next one, in (0, 1]. Defaults to 0.5, as published for the norms.

    Shape:
        - student: L maps (B, C, H, W), or (B, N, C) for tokens, adapted to the teacher's channels.
        - teacher: L maps; carries no gradient.
        - Output: scalar.

    Raises:
        ValueError: ``n_directions`` outside 1 to ``n_iters``, ``decay`` outside (0, 1], negative ``loss_weight``, or maps of
            other channel counts.
    """

    def __init__(self, loss_weight: float = 1.0, n_directions: int = 4, n_iters: int = 5, decay: float = 0.5) -> None:
        super().__init__()
        check_n_directions(n_directions, n_iters)
        if not 0 < decay <= 1:
            raise ValueError(f'decay={decay!r} is outside (0, 1]: give 0.5, or 1 to weigh all pairs alike.')
        if not loss_weight >= 0:
            raise ValueError(f'loss_weight={loss_weight!r} would push the networks apart: give 0 or more.')
        self.loss_weight, self.n_directions, self.n_iters, self.decay = loss_weight, n_directions, n_iters, decay

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The weighted distance over all pairs of taps."""
        directions = leading_directions(teacher, n_directions=self.n_directions, n_iters=self.n_iters)
        loss = 0
        for i, (gains, direction) in enumerate(zip(gains_along(student, directions), directions)):
            size = direction.gains.square().sum(1)
            # Without a gain of the teacher's there is nothing to compare with.
            scale = torch.where(size == 0, 0.0, 1 / size.where(size != 0, 1.0))
            distance = (gains - torch.diag_embed(direction.gains)).square().sum((1, 2)) * scale
            loss = loss + self.decay ** (len(directions) - i) * distance.mean()
        return self.loss_weight * loss
