from typing import List, Optional, Sequence, Tuple, Union

import torch.nn as nn
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


class StagedBackbone(BaseModule):
    """What backbones of a stem and numbered stages have in common.

    A subclass builds its modules and names them in order: :attr:`stages` are the modules whose outputs may be asked for,
    :attr:`stem` those before the first, :attr:`ending` those after the last.

    Args:
        n_stages (int): Number of stages.
        out_indices (Sequence[int]): Stages whose outputs are returned, from 0; negative ones count from the last.
        frozen_stages (int): Stages that are not trained, 1 the first with everything before it; 0 freezes the stem, -1
            nothing. Defaults to -1.
        norm_eval (bool): Whether BNs use running statistics in training. Defaults to False.
        init_cfg (dict | List[dict], optional): Initialisation. Defaults to None.

    Raises:
        ValueError: A stage that there is not.
    """

    stem: Sequence[str]
    stages: Sequence[str]
    ending: Sequence[str] = ()

    def __init__(
        self,
        n_stages: int,
        out_indices: Sequence[int],
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: Optional[Union[dict, List[dict]]] = None,
    ) -> None:
        super().__init__(init_cfg)
        for index in out_indices:
            if not -n_stages <= index < n_stages:
                raise ValueError(
                    f'out_indices={tuple(out_indices)} names stage {index}, but there are {n_stages}, from 0.'
                )
        if not -1 <= frozen_stages <= n_stages:
            raise ValueError(f'frozen_stages={frozen_stages}: give -1 (none), 0 (the stem) or up to {n_stages}.')
        self.out_indices = tuple(index % n_stages for index in out_indices)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval

    def forward(self, image: Tensor) -> Tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_indices``; the last stage's after what ends the network."""
        feature = image
        for name in self.stem:
            feature = getattr(self, name)(feature)
        outputs = []
        for index, name in enumerate(self.stages):
            feature = getattr(self, name)(feature)
            if index == len(self.stages) - 1:
                for end in self.ending:
                    feature = getattr(self, end)(feature)
            if index in self.out_indices:
                outputs.append(feature)
        return tuple(outputs)

    def train(self, mode: bool = True) -> nn.Module:
        """Training mode, in which frozen stages stay in evaluation mode and, with ``norm_eval``, all BNs."""
        super().train(mode)
        frozen = [] if self.frozen_stages < 0 else [*self.stem, *self.stages[: self.frozen_stages]]
        for name in frozen:
            module = getattr(self, name).eval()
            for parameter in module.parameters():
                parameter.requires_grad = False
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


# N(0, 2 / fan_out) for convolutions and 1 and 0 for BNs, as all the backbones here were published.
PUBLISHED_INIT = (
    dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu', distribution='normal'),
    dict(type='Constant', layer='_BatchNorm', val=1, bias=0),
)
