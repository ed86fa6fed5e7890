"""The layers of a model at which a distillation compares it with another one, found in a traced forward pass."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lckd_mm.errors import ConfigValueError
from lckd_mm.models.distillers.gradient_check import reaches_any
from lckd_mm.models.recorders.pre_activation_recorder import ACTIVATIONS
from lckd_mm.spectral import Grid

from .feature_units import Unit, consumers, find_units, widest_call
from .forward_trace import trace_model
from .traced_call import Call, FeatureMap

# The paper has three taps on CIFAR and four on ImageNet (section 4.1): the stages of a network.
MAX_TAPS = 4
_MIN_TAPS = 2
# The stride of the first stage of the ImageNet networks of the paper. Earlier layers have a small receptive field.
_LATE_STRIDE = 4

T = TypeVar('T')


class Tap(NamedTuple):
    """A layer that yields a feature map.

    Attributes:
        source: Name of the module.
        data_idx: Index of the map if the module yields several; None if it yields one.
        record_idx: Call of the module in a forward pass, counted from 0.
        shape: (B, C, H, W), or (B, N, C) for tokens.
        stride: Size of the image over size of the map.
        grid: Height and width, and the number of leading tokens without a place.
        activation: Class name of the activation before which the map is recorded; empty if there is none.
        reason: Why the finder has chosen the layer; empty if it has not.
    """

    source: str
    data_idx: int | None
    record_idx: int
    shape: tuple[int, ...]
    stride: int
    grid: Grid
    activation: str
    reason: str = ''

    @property
    def num_positions(self) -> int:
        """H W, or N for tokens."""
        return self.shape[1] if len(self.shape) == 3 else self.shape[2] * self.shape[3]

    @property
    def config(self) -> str | dict[str, Any]:
        """The entry for ``taps`` in a config."""
        indices: dict[str, Any] = {} if self.data_idx is None else dict(data_idx=self.data_idx)
        if self.record_idx:
            indices['record_idx'] = self.record_idx
        return dict(source=self.source, **indices) if indices else self.source

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[1] if len(self.shape) == 4 else self.shape[2]


def find_taps(model: nn.Module, size: Sequence[int] | None = None, trained: bool = False) -> list[Tap]:
    """Find the layers of a model at which a distillation compares it with another one, from first to last.

    - A tap is the last map of the backbone at its stride, of the last four strides. The backbone is ``model.backbone``; a model without
      one is searched as a whole. The maps of a decoder, which have been upsampled, are not considered, nor is the stem.
    - A backbone of fewer strides (with dilated stages, for example) has one tap per stage. Stages of one stride differ in their channels.
    - A backbone of one stage, such as a vision transformer, has four evenly spaced blocks as taps.
    - A map is recorded before its activation. Where the next block begins with a BN, the BN is the tap.

    Args:
        model (nn.Module): A model.
        size (Sequence[int], optional): As in :func:`trace_model`. Defaults to None.
        trained (bool): Whether the model is trained, so that frozen and detached maps are no taps. Defaults to False.

    Returns:
        list[Tap]: The taps, at least two.

    Raises:
        ConfigValueError: The model does not run on the image, or fewer than two taps are found.

    Source:
        Paper, section 4.1: taps at the ends of the stages, before the ReLU.

    Example:
        >>> stages = [nn.Sequential(nn.Conv2d(n, 2 * n, 3, stride=2, padding=1), nn.ReLU()) for n in (3, 6)]
        >>> [(tap.source, tap.stride, tap.reason) for tap in find_taps(nn.Sequential(*stages), (64, 64))]
        [('0', 2, 'last map at stride 2 before its ReLU'), ('1', 4, 'last map at stride 4 before its ReLU')]
    """
    return select_taps(model, trace_model(model, size), trained)


def select_taps(model: nn.Module, root: Call, trained: bool = False) -> list[Tap]:
    """Select the taps from a traced forward pass; arguments and result as in :func:`find_taps`."""
    backbone = _backbone_call(model, root)
    num_channels = root.inputs[0].channels
    units, expanded = find_units(backbone, set(), num_channels), set[int]()
    reached = _reached_filter(model, trained)
    chosen = _choose(list(filter(reached, units)))
    # A module around several blocks counts as one unit where they all have its stride.
    while len(chosen) < _MIN_TAPS and (widest := widest_call(units)) is not None:
        expanded.add(id(widest))
        units = find_units(backbone, expanded, num_channels)
        chosen = _choose(list(filter(reached, units)))
    if len(chosen) < _MIN_TAPS:
        raise ConfigValueError(_too_few(backbone, units, chosen))
    return [_make_tap(unit, reason, backbone) for unit, reason in chosen]


def _backbone_call(model: nn.Module, root: Call) -> Call:
    backbone = getattr(model, 'backbone', None)
    calls = [call for call in root.walk() if call.module is backbone and call.has_returned]
    return calls[0] if calls else root


def _reached_filter(model: nn.Module, trained: bool) -> Callable[[Unit], bool]:
    parameters = list(model.parameters())

    def is_reached(unit: Unit) -> bool:
        return not trained or reaches_any(unit.feature.tensor, parameters)

    return is_reached


def _choose(units: list[Unit]) -> list[tuple[Unit, str]]:
    chosen = _choose_stages(_without_stem(units))
    # A network of few stages has none to spare as a stem.
    return chosen if len(chosen) > _MIN_TAPS else max(_choose_stages(units), chosen, key=len)


def _without_stem(units: list[Unit]) -> list[Unit]:
    """Remove the layers that see the image, and those before the first block."""
    rest = [unit for unit in units if not unit.sees_image]
    first = next((index for index, unit in enumerate(rest) if unit.is_block), 0)
    return rest[first:]


def _choose_stages(units: list[Unit]) -> list[tuple[Unit, str]]:
    by_stride = {stride: list(group) for stride, group in groupby(sorted(units, key=_stride_of), key=_stride_of)}
    if len(by_stride) >= MAX_TAPS:
        return [(by_stride[stride][-1], f'last map at stride {stride}') for stride in sorted(by_stride)[-MAX_TAPS:]]
    stages = [stage for stride in sorted(by_stride) for stage in _stages(by_stride[stride])]
    late = [stage for stage in stages if stage[-1].feature.stride >= _LATE_STRIDE]
    stages = late if len(late) >= MAX_TAPS else stages
    last_stages = {stage[-1].feature.stride: stage for stage in stages}
    if len(stages) == 1:
        total = len(stages[0])
        return [
            (unit, f'block {stages[0].index(unit) + 1} of {total} at stride {unit.feature.stride}')
            for unit in spread(stages[0], MAX_TAPS)
        ]
    others = [stage for stage in stages if last_stages[stage[-1].feature.stride] is not stage]
    others = spread(others, MAX_TAPS - len(last_stages))
    chosen = []
    for stage in stages:
        if not any(stage is other for other in (*last_stages.values(), *others)):
            continue
        stride, channels = stage[-1].feature.stride, stage[-1].feature.channels
        of_channels = '' if last_stages[stride] is stage else f' of {channels} channels'
        chosen.append((stage[-1], f'last map{of_channels} at stride {stride}'))
    return chosen


def _stride_of(unit: Unit) -> int:
    return unit.feature.stride


def _stages(units: list[Unit]) -> list[list[Unit]]:
    """Divide the units of one stride into runs of equal numbers of channels; layers outside of blocks count only at the end."""
    blocks = [unit for unit in units if unit.is_block]
    blocks += [] if not blocks or units[-1].is_block or units[-1].num_layers == 0 else units[-1:]
    return [list(group) for _, group in groupby(blocks or units, key=lambda unit: unit.feature.channels)]


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return the last item of each of ``count`` parts of equal length.

    Example:
        >>> spread(range(12), 4), spread('ab', 4)
        ([2, 5, 8, 11], ['a', 'b'])
    """
    count = min(count, len(items))
    return [items[math.ceil(len(items) * part / count) - 1] for part in range(1, count + 1)]


def _make_tap(unit: Unit, reason: str, backbone: Call) -> Tap:
    norm = _following_norm(unit, backbone)
    if norm is not None:
        return make_tap(norm, norm.maps[0], f'{reason}, after the BN of the next block')._replace(
            activation=_consumer_name(norm.maps[0], backbone)
        )
    tap = make_tap(unit.call, unit.feature)
    if not tap.activation:
        tap = tap._replace(activation=_consumer_name(unit.feature, backbone))
    return tap._replace(reason=f'{reason} before its {tap.activation}' if tap.activation else reason)


def make_tap(call: Call, feature: FeatureMap, reason: str = '') -> Tap:
    """Return the tap of a map that a call yields."""
    return Tap(
        source=call.name,
        data_idx=feature.data_idx,
        record_idx=call.record_idx,
        shape=tuple(feature.tensor.shape),
        stride=feature.stride,
        grid=feature.grid,
        activation=_last_activation(call, feature),
        reason=reason,
    )


def _last_activation(call: Call, feature: FeatureMap) -> str:
    """Return the class of the activation that yields a map among the outputs of a call, whose input is recorded."""
    names = [
        type(inner.module).__name__
        for inner in call.walk()
        if isinstance(inner.module, ACTIVATIONS) and inner.outputs and inner.outputs[0][1] is feature.tensor
    ]
    return names[-1] if names else ''


def _consumer_name(feature: FeatureMap, backbone: Call) -> str:
    """Return the class of the activation that a map is passed to."""
    calls = consumers(feature, backbone, ACTIVATIONS)
    return type(calls[0].module).__name__ if calls else ''


def _following_norm(unit: Unit, backbone: Call) -> Call | None:
    """Return the BN that begins the next block of a pre-activation network."""
    if _last_activation(unit.call, unit.feature) or unit.num_layers < 2:
        return None
    return next((call for call in consumers(unit.feature, backbone, _BatchNorm) if call.maps), None)


def _too_few(backbone: Call, units: list[Unit], chosen: list[Any]) -> str:
    names = [unit.call.name for unit, _ in chosen]
    unknown = [call.name for call in backbone.walk() if call.unknown and call.name and call is not backbone]
    fix = 'name layers of your choice as `taps`; `python -m lckd_mm taps FILE --depth 3` lists them'
    if len(units) >= _MIN_TAPS:
        reason = f'{"its other" if chosen else "all of its"} maps are frozen or detached'
        fix = 'make more layers trainable (frozen_stages=-1, frozen=False), since frozen ones do not learn whichever taps are named'
    elif unknown:
        reason = f'height and width of its tokens ({unknown[0]!r}) do not follow from the size of the image'
    else:
        reason = f'it yields {len(units)} feature maps (B, C, H, W) or (B, N, C)'
    return (
        f'{type(backbone.module).__name__} has {len(names)} layers {names} that can be taps, since {reason}, but a pair needs two: '
        f'{fix}.'
    )
