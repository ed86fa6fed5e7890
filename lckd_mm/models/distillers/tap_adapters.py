from collections.abc import Sequence
from typing import Any

from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.errors import ConfigTypeError, ConfigValueError

from ..utils.tensors import find_tensors
from .compatibility import ChannelPairs
from .network_taps import NetworkTaps


class TapAdapters(nn.ModuleDict):
    """The adapters of the student's taps by the key of the map: ``tap0``, or ``tap0_level1`` for a level of a pyramid.

    Args:
        option (bool | str | Sequence[dict | str | None]): ``adapters`` of :class:`LipschitzDistiller`.
        tap_names (Sequence[str]): Recorder names of the taps.

    Raises:
        ConfigValueError: ``option`` is an unknown string or has a different number of entries than there are taps.
    """

    def __init__(self, option: bool | str | Sequence[dict | str | None], tap_names: Sequence[str]) -> None:
        super().__init__()
        if isinstance(option, str) and option != 'auto':
            raise ConfigValueError(
                f"adapters={option!r} is unknown: use 'auto', True, False or a list with a config per tap."
            )
        if not isinstance(option, (bool, str, list, tuple)):
            raise ConfigTypeError(
                f"adapters={option!r} is a {type(option).__name__}: use 'auto', True, False or a list with a config per tap."
            )
        if not isinstance(option, (bool, str)) and len(option) != len(tap_names):
            raise ConfigValueError(
                f"adapters has {len(option)} entries for {len(tap_names)} taps: give one per tap, a config, 'auto' or None."
            )
        self._common: bool | str | None
        self._common, self._by_tap = (
            (option, {}) if isinstance(option, (bool, str)) else (None, dict(zip(tap_names, option)))
        )
        self._outputs: dict[str, Tensor] = {}

    def build(self, channels: ChannelPairs, taps: NetworkTaps) -> None:
        """Build the adapters for known channel counts.

        Args:
            channels (ChannelPairs): Channel counts of student and teacher.
            taps (NetworkTaps): The student's taps, which have the records of a probe run.
        """
        for (name, key), (student, teacher) in channels.items():
            option = self._option(name)
            if option is True or (option == 'auto' and student != teacher):
                option = dict(type='PointwiseAdapter')
            if isinstance(option, dict):
                adapter = MODELS.build(
                    {'_scope_': 'mmrazor', **option, 'in_channels': student, 'out_channels': teacher}
                )
                self[key] = adapter.to(next(find_tensors(taps.read(name))).device)

    def _option(self, name: str) -> Any:
        return self._by_tap.get(name) if self._common is None else self._common

    def check_deferrable(self, names: Sequence[str], loss_name: str) -> None:
        """Check that taps of unknown channel counts can be used without adapters.

        Raises:
            ConfigValueError: A tap has an adapter in any case.
        """
        for name in names:
            if self._option(name) is True or isinstance(self._option(name), dict):
                raise ConfigValueError(
                    f'adapters={self._option(name)!r} cannot be built for the loss {loss_name!r}, since the probe did not record its taps: '
                    'give the shape of the input of the models, probe_inputs=(4, 224, 224) for example, or set adapters=False.'
                )

    def check_complete(self, channels: ChannelPairs, taps: NetworkTaps) -> None:
        """Check that no tap needs an adapter that was not built.

        Raises:
            ConfigValueError: A tap does.
        """
        for (name, key), (student, teacher) in channels.items():
            if key not in self and self._option(name) == 'auto' and student != teacher:
                raise ConfigValueError(
                    f"the student's tap {taps.source(name)!r} has {student} channels and the teacher's {teacher}, but its adapter could "
                    'not be built before the training, since the probe did not record the tap: give the shape of the input of the models, '
                    'probe_inputs=(4, 224, 224) for example, or set adapters=False.'
                )

    def adapt(self, keys: Sequence[str], maps: Sequence[Any]) -> list[Any]:
        """Return the maps of these keys in the teacher's channel counts; maps without an adapter are returned as they are."""
        for key, feature in zip(keys, maps):
            # Several losses read the output of one forward pass.
            if key in self and key not in self._outputs:
                self._outputs[key] = self[key](feature)
        return [self._outputs.get(key, feature) for key, feature in zip(keys, maps)]

    def clear_outputs(self) -> None:
        """Clear the outputs of the last batch."""
        self._outputs.clear()
