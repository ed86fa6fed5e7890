from collections.abc import Sequence

from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.errors import ConfigTypeError, ConfigValueError, unknown_name
from lckd_mm.spectral import METHODS, check_num_iters, spectral_norms_of_networks


@MODELS.register_module()
class SpectralNormConnector(BaseConnector):
    """Spectral norms of the blocks between consecutive taps.

    The connector has no parameters and is independent of the task: the same connector serves detection, segmentation and
    classification, and both networks.

    Args:
        method (str): ``'lanczos'``, ``'power'`` (published) or ``'svd'`` (exact); see
            :func:`lckd_mm.spectral.spectral_norms_of_networks`. Defaults to ``'lanczos'``.
        num_iters (int): Number of products with the transmitting matrix and with its transpose. The authors use 5 power iterations on
            ImageNet and 10 on CIFAR. Defaults to 5.
        init_cfg (dict, optional): Not used; there are no parameters. Defaults to None.

    Shape:
        - Input: K >= 2 maps in the order of the network, each (B, C, H, W), or (B, N, C) for tokens.
        - valid_ratios: (B, 2), the share of height and width of each image that is not padding, or None.
        - grids: K times (h, w), or (h, w, p), for tokens that are pooled; None for other maps.
        - Output: (K - 1, B); row i is the norm between tap i and tap i + 1.

    Raises:
        ConfigValueError: ``method`` is unknown, ``num_iters`` is not positive, or there are fewer than two maps.
        ConfigTypeError: ``num_iters`` is not an integer, or the input is not a sequence of maps.
        ValueError: The maps cannot be paired.

    Source:
        Paper, section 3.2.

    Example:
        >>> import torch
        >>> connector = SpectralNormConnector()
        >>> connector((torch.randn(2, 8, 16, 16), torch.randn(2, 16, 8, 8), torch.randn(2, 32, 4, 4))).shape
        torch.Size([2, 2])
    """

    accepts_valid_ratios = True
    accepts_grids = True

    def __init__(self, method: str = 'lanczos', num_iters: int = 5, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if method not in METHODS:
            raise ConfigValueError(unknown_name('SpectralNormConnector: method', method, METHODS))
        try:
            check_num_iters(num_iters)
        except TypeError as error:
            raise ConfigTypeError(f'SpectralNormConnector: {error}') from error
        except ValueError as error:
            raise ConfigValueError(f'SpectralNormConnector: {error}') from error
        self.method, self.num_iters = method, num_iters

    def forward(
        self,
        feature: Sequence[Tensor],
        valid_ratios: Tensor | None = None,
        grids: Sequence[Sequence[int] | None] | None = None,
    ) -> Tensor:
        """Compute the (K - 1, B) spectral norms of K maps; padding is ignored where ``valid_ratios`` are given."""
        return self.forward_networks([feature], valid_ratios, [grids])[0]

    def forward_networks(
        self,
        networks: Sequence[Sequence[Tensor]],
        valid_ratios: Tensor | None = None,
        grids: Sequence[Sequence[Sequence[int] | None] | None] | None = None,
    ) -> list[Tensor]:
        """Compute the (K - 1, B) spectral norms of the K maps of each network, which takes less time than one network after the other."""
        for features in networks:
            if not isinstance(features, (tuple, list)):
                raise ConfigTypeError(
                    f'SpectralNormConnector received a {type(features).__name__} instead of a sequence of feature maps: set `recorder` of '
                    'its mapping to a list of taps.'
                )
            if len(features) < 2:
                raise ConfigValueError(
                    f'SpectralNormConnector received {len(features)} feature map, but a pair consists of two: name at least 2 taps.'
                )
        return spectral_norms_of_networks(
            networks, method=self.method, num_iters=self.num_iters, valid_ratios=valid_ratios, grids=grids
        )

    def forward_train(self, feature: Sequence[Tensor]) -> Tensor:
        """Compute the spectral norms of maps without padding."""
        return self.forward(feature)
