from collections.abc import Sequence

from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor
from torch.nn import functional as F


@MODELS.register_module()
class ChannelNormConnector(BaseConnector):
    """Batch normalization of each feature map without scale, shift and running statistics.

    Each channel has mean 0 and variance 1 over the batch and its positions, also in evaluation mode, so that maps of networks
    with differently scaled features are comparable. A channel of one value is 0.

    Source: PKD (arXiv 2207.02039), section 3.3. The constant is that of ``torch.nn.BatchNorm2d``, which mmyolo's
    configs/rtmdet/distillation use with ``affine=False, track_running_stats=False``.

    Args:
        eps (float): Constant that is added to the variance. Defaults to 1e-5.
        init_cfg (dict, optional): Not used; there are no parameters. Defaults to None.

    Shape:
        - Input: K maps (B, C, H, W), or (B, N, C) for tokens.
        - Output: K maps of the same shapes.

    Example:
        >>> import torch
        >>> (normalized,) = ChannelNormConnector()([torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)])
        >>> [round(value, 3) for value in normalized.flatten().tolist()]
        [-1.0, 1.0]
    """

    def __init__(self, eps: float = 1e-5, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.eps = eps

    def forward_train(self, feature: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Normalize each map."""
        return tuple(
            self._normalize(tap.transpose(1, 2)).transpose(1, 2) if tap.dim() == 3 else self._normalize(tap)
            for tap in feature
        )

    def _normalize(self, tap: Tensor) -> Tensor:
        if tap.numel() == tap.shape[1]:
            # torch normalizes no single value.
            return 0.0 * tap
        return F.batch_norm(tap, None, None, training=True, eps=self.eps)
