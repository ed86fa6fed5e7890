from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from lckd_mm.errors import ConfigValueError


class StagedBackbone(BaseModule):
    """Base class of backbones that consist of a stem and numbered stages.

    A subclass builds its modules and lists their names in order.

    Args:
        num_stages (int): Number of stages.
        out_indices (Sequence[int]): Stages to return, counted from 0. Negative indices count from the last stage.
        frozen_stages (int): Number of stages that are frozen together with the stem. 0 freezes only the stem, and -1
            nothing. Defaults to -1.
        norm_eval (bool): Whether BN layers use their running statistics during training. Defaults to False.
        init_cfg (dict | list[dict], optional): Initialization. Defaults to None.

    Attributes:
        stem (Sequence[str]): Names of the modules before the first stage.
        stages (Sequence[str]): Names of the stages.
        ending (Sequence[str]): Names of the modules after the last stage.
        out_channels (int): Channels of the last stage.

    Shape:
        - Input: (B, 3, H, W).
        - Output: one feature map for each of ``out_indices``.

    Raises:
        ConfigValueError: ``out_indices`` or ``frozen_stages`` refers to a stage that does not exist.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> class TwoConvolutions(StagedBackbone):
        ...     stem, stages = (), ('layer1', 'layer2')
        ...     def __init__(self):
        ...         super().__init__(num_stages=2, out_indices=(0, 1))
        ...         self.layer1, self.layer2 = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1)
        >>> [tuple(feature.shape) for feature in TwoConvolutions()(torch.randn(1, 3, 5, 5))]
        [(1, 4, 5, 5), (1, 8, 5, 5)]
    """

    stem: Sequence[str]
    stages: Sequence[str]
    ending: Sequence[str] = ()
    out_channels: int

    def __init__(
        self,
        num_stages: int,
        out_indices: Sequence[int],
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for index in out_indices:
            if not -num_stages <= index < num_stages:
                raise ConfigValueError(
                    f'{type(self).__name__}: out_indices={tuple(out_indices)} contains stage {index}, but the stages are '
                    f'0 to {num_stages - 1}.'
                )
        if not -1 <= frozen_stages <= num_stages:
            raise ConfigValueError(
                f'{type(self).__name__}: frozen_stages={frozen_stages} is invalid: use -1 (none), 0 (the stem), or a '
                f'number of stages up to {num_stages}.'
            )
        self.out_indices = tuple(index % num_stages for index in out_indices)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of ``out_indices``.

        Args:
            image (Tensor): Images, (B, 3, H, W).

        Returns:
            tuple[Tensor, ...]: The feature maps. The map of the last stage has passed the modules of :attr:`ending`.
        """
        feature = image
        for name in self.stem:
            feature = getattr(self, name)(feature)
        outputs = []
        for index, name in enumerate(self.stages):
            feature = getattr(self, name)(feature)
            if index == len(self.stages) - 1:
                for ending in self.ending:
                    feature = getattr(self, ending)(feature)
            if index in self.out_indices:
                outputs.append(feature)
        return tuple(outputs)

    def train(self, mode: bool = True) -> 'StagedBackbone':
        """Set the mode of all modules. Frozen stages, and BN layers with ``norm_eval``, stay in evaluation mode.

        Args:
            mode (bool): Whether to set training mode. Defaults to True.

        Returns:
            StagedBackbone: The module itself.
        """
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


# Convolutions: N(0, 2 / fan_out). BN layers: weight 1, bias 0. All backbones of this package were published with it.
PUBLISHED_INIT: tuple[dict[str, Any], ...] = (
    dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu', distribution='normal'),
    dict(type='Constant', layer='_BatchNorm', val=1, bias=0),
)
