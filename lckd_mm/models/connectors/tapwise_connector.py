from collections.abc import Sequence

from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.errors import ConfigRuntimeError


@MODELS.register_module()
class TapwiseConnector(BaseConnector):
    """Apply a connector of its own to each of several feature maps.

    The connectors are built when the channel counts are known; :class:`LipschitzDistiller` calls :meth:`init_channels`.

    Args:
        connector (dict): Config of a connector with the parameters ``student_channels`` and ``teacher_channels``, such as
            MMRazor's ``MGDConnector``.
        init_cfg (dict, optional): Not used. Defaults to None.

    Shape:
        - Input: K maps (B, C, H, W).
        - Output: K maps, as the connector returns them.

    Raises:
        ConfigRuntimeError: The channel counts have not been set.
    """

    def __init__(self, connector: dict, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.config = dict(connector)
        self.connectors = nn.ModuleList()

    def init_channels(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        """Build a connector for each map of the student."""
        for student, teacher in zip(student_channels, teacher_channels):
            config = dict(self.config, student_channels=student, teacher_channels=teacher)
            self.connectors.append(MODELS.build(config))

    def forward_train(self, feature: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Apply the i-th connector to the i-th map."""
        if len(self.connectors) != len(feature):
            raise ConfigRuntimeError(
                f'TapwiseConnector has {len(self.connectors)} connectors for {len(feature)} maps: use it in a LipschitzDistiller, which '
                'builds them from the channel counts of the models.'
            )
        return tuple(connector(tap) for connector, tap in zip(self.connectors, feature))
