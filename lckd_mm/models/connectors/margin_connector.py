from collections.abc import Sequence

import torch
from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.errors import ConfigRuntimeError


@MODELS.register_module()
class MarginConnector(BaseConnector):
    """The teacher's side of OFD (ICCV 2019, section 3.1): ``max(map, margin)`` for each of any number of taps.

    A margin is, per channel, the mean of the negative values that the ReLU after the tap sets to zero. :class:`LipschitzDistiller`
    computes the margins from the teacher's BNs. MMRazor's ``OFDTeacherConnector`` is the same for one tap.

    Args:
        init_cfg (dict, optional): Not used; there are no parameters. Defaults to None.

    Shape:
        - Input: K maps (B, C, H, W).
        - Output: K maps of the same shapes, without gradient.

    Raises:
        ConfigRuntimeError: The margins have not been set.

    Example:
        >>> connector = MarginConnector()
        >>> connector.init_margin([torch.full((1, 2, 1, 1), -1.0)])
        >>> connector([torch.full((1, 2, 1, 1), -3.0)])[0].flatten()
        tensor([-1., -1.])
    """

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.margins: list[Tensor] = []

    def init_margin(self, margins: Sequence[Tensor]) -> None:
        """Set the K margins, each (1, C, 1, 1)."""
        self.margins = list(margins)

    def forward_train(self, feature: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Clamp each map from below at its margins."""
        if len(self.margins) != len(feature):
            raise ConfigRuntimeError(
                f'MarginConnector has {len(self.margins)} margins for {len(feature)} maps: use it in a LipschitzDistiller, which '
                'computes the margins from the BNs of the teacher.'
            )
        self.margins = [margin.to(tap.device) for margin, tap in zip(self.margins, feature)]
        return tuple(torch.max(tap.detach(), margin) for tap, margin in zip(feature, self.margins))
