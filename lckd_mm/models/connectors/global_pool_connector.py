from collections.abc import Sequence

from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class GlobalPoolConnector(BaseConnector):
    """Mean of each feature map over its positions.

    Args:
        init_cfg (dict, optional): Not used; there are no parameters. Defaults to None.

    Shape:
        - Input: K maps (B, C, H, W), or (B, N, C) for tokens.
        - Output: K tensors (B, C).

    Example:
        >>> import torch
        >>> GlobalPoolConnector()([torch.ones(2, 3, 4, 4)])[0].shape
        torch.Size([2, 3])
    """

    def forward_train(self, feature: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Average each map."""
        return tuple(tap.mean((2, 3)) if tap.dim() == 4 else tap.mean(1) for tap in feature)
