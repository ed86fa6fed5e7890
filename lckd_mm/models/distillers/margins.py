"""The margins of OFD (ICCV 2019, section 3.1): pure functions of the BN before a ReLU."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lckd_mm.errors import ConfigValueError, unknown_name

from ..interfaces import is_pre_activation, needs_margins
from .mappings import is_sequence, recorder_names
from .network_taps import NetworkTaps


def margin_from_bn(bn: _BatchNorm) -> Tensor:
    """Return the mean of the negative values of N(bias, weight^2), per channel.

    Args:
        bn (_BatchNorm): A batch normalization with C channels.

    Returns:
        Tensor: (1, C, 1, 1). With s = abs(weight) and m = bias: ``m - s * pdf(m / s) / Phi(-m / s)``; ``-3 * s`` where the share of
        negative values ``Phi(-m / s)`` is at most 0.001 (both constants are published). The limit for s = 0 is min(m, 0).

    Example:
        >>> margin_from_bn(nn.BatchNorm2d(1)).item()
        -0.7978845834732056
    """
    if bn.weight is None:
        return torch.full((1, bn.num_features, 1, 1), -1 / math.sqrt(math.pi / 2), device=bn.running_mean.device)
    std, mean = bn.weight.detach().double().abs(), bn.bias.detach().double()
    share = torch.special.ndtr(-mean / std.clamp(min=1e-300))
    density = torch.exp(-((mean / std.clamp(min=1e-300)) ** 2) / 2) / math.sqrt(2 * math.pi)
    margin = torch.where(share > 0.001, mean - std * density / share, -3 * std)
    return margin.to(bn.weight.dtype).view(1, -1, 1, 1)


def last_bn(module: nn.Module) -> _BatchNorm | None:
    """Return the BN that ends the main branch of a module: its own last BN, or that of its last child that has one."""
    if isinstance(module, _BatchNorm):
        return module
    # The BN of a shortcut is a grandchild, inside the Sequential of the shortcut.
    direct = [child for child in module.children() if isinstance(child, _BatchNorm)]
    if direct:
        return direct[-1]
    nested = [bn for bn in map(last_bn, module.children()) if bn is not None]
    return nested[-1] if nested else None


def find_margin_bn(teacher: nn.Module, taps: NetworkTaps, name: str) -> _BatchNorm:
    """Return the BN that gives the OFD margins of a tap.

    It is the tap itself, the BN that the tap names as its ``margin``, or the last BN of the block whose pre-activation output is
    tapped (for a ResNet stage, the last BN of the last block).

    Args:
        teacher (nn.Module): The teacher.
        taps (NetworkTaps): Its taps.
        name (str): Name of the recorder.

    Raises:
        ConfigValueError: There is no such BN, or it has a different number of channels than the tap.
    """
    modules = dict(teacher.named_modules())
    recorder = taps.manager.get_recorder(name)
    source, module = recorder.source, modules[recorder.source]
    fix = f"name the BN before its ReLU, dict(source={source!r}, margin='...'), or tap a BN"
    bn_names = [name for name, m in modules.items() if isinstance(m, _BatchNorm)]
    bn_name = taps.taps[name].margin if name in taps.taps else None
    if bn_name is not None and bn_name not in bn_names:
        raise ConfigValueError(unknown_name(f"the margin BN of the teacher's tap {source!r}", bn_name, bn_names))
    if bn_name is None and not isinstance(module, _BatchNorm) and not is_pre_activation(recorder):
        raise ConfigValueError(
            f"the teacher's tap {source!r} is the output of a {type(module).__name__}, after its ReLU, but OFD margins are defined before "
            "a ReLU: record it with type='PreActivation', or tap a BN."
        )
    bn = last_bn(module) if bn_name is None else modules[bn_name]
    if bn is None:
        norms = sorted({type(m).__name__ for m in module.modules() if 'Norm' in type(m).__name__}) or 'none'
        raise ConfigValueError(
            f"the teacher's tap {source!r} does not end in a BN, from which OFD margins are computed (normalization layers in it: "
            f'{norms}): {fix}.'
        )
    maps = taps.read_maps(name) if taps.is_recorded(name) else []
    if len(maps) > 1:
        raise ConfigValueError(
            f"the teacher's tap {source!r} yields {len(maps)} maps, but a BN gives the OFD margins of one: tap the layers that yield them, "
            'one tap per map.'
        )
    num_channels = maps[0].shape[1] if maps else bn.num_features
    if bn.num_features != num_channels:
        raise ConfigValueError(
            f"the teacher's tap {source!r} has {num_channels} channels, but the BN of its OFD margins, {bn_name or 'its last one'}, has "
            f'{bn.num_features}: {fix}.'
        )
    return bn


def init_margins(
    mappings: Mapping[str, Mapping[str, dict]],
    connectors: Mapping[str, nn.Module] | nn.ModuleDict,
    teacher: nn.Module,
    taps: NetworkTaps,
) -> None:
    """Give every connector that needs them the margins of its taps; errors as in :func:`find_margin_bn`."""
    for mapping in mappings.values():
        for record in mapping.values():
            connector: Any = connectors[record['connector']] if record.get('connector') else None
            if not record['from_student'] and needs_margins(connector):
                margins = [margin_from_bn(find_margin_bn(teacher, taps, name)) for name in recorder_names(record)]
                connector.init_margin(margins if is_sequence(record) else margins[0])
