"""The parts of a backbone that hand on a feature map: stages, blocks and layers of a traced forward pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from lckd_mm.models.recorders.pre_activation_recorder import ACTIVATIONS

from .traced_call import Call, FeatureMap


@dataclass(eq=False)
class Unit:
    """A feature map that a call yields to the rest of the network.

    Attributes:
        call: The call, a stage, a block or a layer.
        feature: The map.
        num_layers: Number of convolutions and linear layers in the module.
        sees_image: Whether an argument of the call has the size and the channels of the image.
    """

    call: Call
    feature: FeatureMap
    num_layers: int
    sees_image: bool

    @property
    def is_block(self) -> bool:
        """Whether the call is more than one layer."""
        return self.num_layers > 1


def find_units(backbone: Call, expanded: set[int], num_channels: int) -> list[Unit]:
    """Return the maps that the parts of a backbone hand on, without those of a decoder.

    Args:
        backbone (Call): The call of the backbone.
        expanded (set[int]): Ids of calls that are not one part, but several.
        num_channels (int): Number of channels of the image.

    Returns:
        list[Unit]: The maps in the order of the forward pass.
    """
    units, upsampled = [], set[Any]()
    for call in _parts(backbone, expanded):
        strides = {feature.stride for feature in call.inputs}
        decodes = bool(strides) and max(feature.stride for feature in call.maps) < max(strides)
        if decodes:
            upsampled |= {feature.node for feature in call.maps}
        num_layers = sum(parameter.dim() > 1 for parameter in call.module.parameters())
        sees_image = any((feature.stride, feature.channels) == (1, num_channels) for feature in call.inputs)
        seen: list[Any] = []
        for feature in call.maps:
            is_new = not any(feature.tensor is tensor for tensor in seen)
            seen.append(feature.tensor)
            if is_new and (num_layers or is_pre_activation_norm(call, backbone)):
                units.append(Unit(call, feature, num_layers, sees_image))
    return [unit for unit in units if not upsampled or not _depends_on(unit.feature.node, upsampled)]


def _parts(call: Call, expanded: set[int]) -> Iterator[Call]:
    """Yield the outermost calls within a call that compute the maps of not more than two strides."""
    for child in call.children:
        if child.children and (id(child) in expanded or not child.maps or _skips_strides(child)):
            yield from _parts(child, expanded)
        elif child.maps:
            yield child


def _skips_strides(call: Call) -> bool:
    """Return whether the maps within a call have a stride between those of its inputs and its outputs."""
    inputs, outputs = ({feature.stride for feature in maps} for maps in (call.inputs, call.maps))
    first, last = min(inputs, default=1), max(outputs)
    within = {feature.stride for child in call.walk() for feature in child.maps}
    return any(first < stride < last and stride not in inputs | outputs for stride in within)


def is_pre_activation_norm(call: Call, backbone: Call) -> bool:
    """Return whether a call is a BN before an activation."""
    return isinstance(call.module, _BatchNorm) and bool(consumers(call.maps[0], backbone, ACTIVATIONS))


def consumers(feature: FeatureMap, backbone: Call, kind: Any) -> list[Call]:
    """Return the calls of modules of some classes whose argument is a map."""
    return [
        call
        for call in backbone.walk()
        if isinstance(call.module, kind) and any(tensor is feature.tensor for tensor in call.arguments)
    ]


def _depends_on(node: Any, others: set[Any]) -> bool:
    pending, seen = [node], set[Any]()
    while pending:
        current = pending.pop()
        if current is None or current in seen:
            continue
        if current in others:
            return True
        seen.add(current)
        pending += [following for following, _ in current.next_functions]
    return False


def widest_call(units: Iterable[Unit]) -> Call | None:
    """Return the call of the unit with the most layers among those that consist of other calls with maps."""
    composite = [unit for unit in units if any(call.maps for child in unit.call.children for call in child.walk())]
    return max(composite, key=lambda unit: unit.num_layers).call if composite else None
