from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class ScoreRowsConnector(BaseConnector):
    """Class scores as rows: one for each image, or for each position of a segmentor's map.

    Losses that average over rows then average over positions, where they would add them up.

    Args:
        init_cfg (dict, optional): Not used; there are no parameters. Defaults to None.

    Shape:
        - Input: (B, C), or (B, C, H, W).
        - Output: (B, C), or (B * H * W, C).

    Example:
        >>> import torch
        >>> ScoreRowsConnector()(torch.zeros(2, 19, 4, 8)).shape
        torch.Size([64, 19])
    """

    def forward_train(self, feature: Tensor) -> Tensor:
        """Move the classes of a map to the end."""
        return feature.permute(0, 2, 3, 1).flatten(0, 2) if feature.dim() == 4 else feature
