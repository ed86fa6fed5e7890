from typing import Optional, Sequence

from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.spectral import check_method, check_n_iters, transmitting_spectral_norms


@MODELS.register_module()
class SpectralNormConnector(BaseConnector):
    """The spectral norms of the blocks between consecutive taps (paper, section 3.2).

    It has no parameters and knows nothing of the task: the same connector serves detection, segmentation and
    classification, teacher and student.

    Args:
        method (str): ``'lanczos'``, ``'power'`` (published) or ``'svd'`` (exact), see
            :func:`lckd_mm.spectral.transmitting_spectral_norms`. Defaults to ``'lanczos'``.
        n_iters (int): Products with the transmitting matrix and with its transpose. The authors run 5 on ImageNet and 10
            on CIFAR, of the power iteration. Defaults to 5.
        init_cfg (dict, optional): Not used, there is nothing to initialise. Defaults to None.

    Attributes:
        extents (Tensor, optional): (B, 2), what part of the height and width of the maps each image of the batch at hand fills;
            the padding does not count. Set by :class:`LipschitzDistiller`; None where nothing is padded.

    Shape:
        - Input: K maps in the order of the network, each (B, C, H, W), or (B, N, C) for tokens; K >= 2.
        - Output: (K - 1, B), row i the norm between tap i and tap i + 1.

    Raises:
        ValueError: Unknown ``method``, non-positive ``n_iters``, fewer than two maps, or maps that cannot be paired.
        TypeError: ``n_iters`` is not an integer, or the input is not a sequence of maps.

    Examples:
        >>> connector = SpectralNormConnector()
        >>> connector((torch.randn(2, 8, 16, 16), torch.randn(2, 16, 8, 8), torch.randn(2, 32, 4, 4))).shape
        torch.Size([2, 2])
    """

    def __init__(self, method: str = 'lanczos', n_iters: int = 5, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        check_method(method)
        check_n_iters(n_iters)
        self.method, self.n_iters = method, n_iters
        self.extents: Optional[Tensor] = None

    def forward_train(self, feature: Sequence[Tensor]) -> Tensor:
        """K feature maps to their (K - 1, B) spectral norms."""
        if not isinstance(feature, (tuple, list)):
            raise TypeError(
                f'SpectralNormConnector got a {type(feature).__name__}, but takes a tuple of feature maps: give its '
                '`recorder` as a list of taps.'
            )
        if len(feature) < 2:
            raise ValueError(
                f'SpectralNormConnector got {len(feature)} feature map, but a pair has two: name 2 taps or more.'
            )
        return transmitting_spectral_norms(feature, method=self.method, n_iters=self.n_iters, extents=self.extents)
