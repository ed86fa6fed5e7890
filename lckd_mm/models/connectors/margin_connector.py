from typing import List, Optional, Sequence, Tuple

import torch
from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MarginConnector(BaseConnector):
    """The teacher's side of OFD (ICCV 2019, section 3.1): max(map, margin) of each tap, for any number of taps.

    The margins, one a channel, are the mean of what the ReLU after the tap cuts off; :class:`LipschitzDistiller` takes them
    from the teacher's BNs. MMRazor's ``OFDTeacherConnector`` is the same for one tap.

    Args:
        init_cfg (dict, optional): Not used, there is nothing to initialise. Defaults to None.

    Shape:
        - Input: K maps (B, C, H, W).
        - Output: the same, without gradient.

    Raises:
        RuntimeError: The margins have not been given yet.
    """

    def __init__(self, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        self.margins: List[Tensor] = []

    def init_margin(self, margins: Sequence[Tensor]) -> None:
        """Take the K margins, each (1, C, 1, 1)."""
        self.margins = list(margins)

    def forward_train(self, feature: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Cut every map off at its margins."""
        if len(self.margins) != len(feature):
            raise RuntimeError(
                f'MarginConnector has {len(self.margins)} margins for {len(feature)} maps: use it within a '
                'LipschitzDistiller, which gives it the margins.'
            )
        self.margins = [margin.to(tap.device) for margin, tap in zip(self.margins, feature)]
        return tuple(torch.max(tap.detach(), margin) for tap, margin in zip(feature, self.margins))
