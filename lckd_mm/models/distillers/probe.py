"""A forward pass on a probe image, which shows the shapes of the taps and what would overwrite them."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmrazor.models.task_modules import RecorderManager
from torch import Tensor, nn

from ..interfaces import detects_overwriting
from ..utils.tensors import find_tensors
from .network_taps import NetworkTaps
from .probe_inputs import list_probe_inputs, make_inputs


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set every module to evaluation mode within the context, and restore each module's mode afterwards.

    Classes with a ``train`` method of their own may keep what evaluation needs, such as the attention biases of LeViT.

    Example:
        >>> model = nn.Sequential(nn.Dropout())
        >>> with evaluating(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    modes = [(module, module.training) for module in model.modules()]
    # Such a method may also freeze layers, as those of the backbones do.
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    _set_modes([(module, False) for module, _ in modes])
    try:
        yield
    finally:
        _set_modes(modes)
        for parameter, requires_grad in frozen:
            parameter.requires_grad = requires_grad


def _set_modes(modes: list[tuple[nn.Module, bool]]) -> None:
    # A module comes before its parts, whose modes it sets as well. A second call in the same mode may undo the first.
    for module, mode in modes:
        if type(module).train is not nn.Module.train and module.training != mode:
            module.train(mode)
    for module, mode in modes:
        module.training = mode


@contextlib.contextmanager
def protect_from_inplace(model: nn.Module, manager: RecorderManager) -> Iterator[None]:
    """Find what overwrites a record in the forward pass within the context, and prevent it from then on.

    Activations that would overwrite a record no longer compute in place. A recorder whose record is overwritten by an operation that
    cannot be switched off, such as ``out += identity``, stores copies.
    """

    def switch_off(module: Any, inputs: tuple) -> None:
        if inputs and any(inputs[0] is t for r in manager.recorders.values() for t in find_tensors(r.data_buffer)):
            module.inplace = False

    handles = [module.register_forward_pre_hook(switch_off) for module in inplace_modules(model).values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for recorder in manager.recorders.values():
            if detects_overwriting(recorder) and recorder.overwritten():
                recorder.copy = True


def protect_unseen(model: nn.Module, taps: NetworkTaps, names: Iterable[str]) -> None:
    """Protect records that no probe has seen: no module computes in place, and the recorders store copies where they can."""
    names = list(names)
    for module in inplace_modules(model).values() if names else ():
        setattr(module, 'inplace', False)  # noqa: B010  (`nn.Module` declares no such attribute)
    for name in names:
        recorder = taps.manager.get_recorder(name)
        if detects_overwriting(recorder):
            recorder.copy = True


def inplace_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that compute in place, by name."""
    return {name: module for name, module in model.named_modules() if getattr(module, 'inplace', False) is True}


def probe_image(model: nn.Module, size: Sequence[int]) -> Tensor:
    """Return a black image (1, C, H, W) with the channels, the data type and the device of the model."""
    return make_inputs(list_probe_inputs(model, size, None, None)[0], model)


@dataclass
class ProbeResult:
    """What a probe has found out.

    Attributes:
        inputs: The shapes on which the network ran; None if it ran on none.
        missing: Names of the required recorders without a record.
        error: Why recorders are missing, the exception of the forward pass; None if it raised none.
        called: Names of the modules that were called in a complete forward pass.
        map_sizes: Height and width of all maps in it.
    """

    inputs: Any = None
    missing: list[str] = field(default_factory=list)
    error: Exception | None = None
    called: set[str] = field(default_factory=set)
    map_sizes: set[tuple[int, int]] = field(default_factory=set)


def run_probe(model: nn.Module, taps: NetworkTaps, required: Iterable[str], candidates: Iterable[Any]) -> ProbeResult:
    """Fill the recorders of a network from the first inputs on which it runs.

    The feature extractor runs first, since it needs no annotations. The whole model runs if a required tap is still empty.

    Args:
        model (nn.Module): The network.
        taps (NetworkTaps): Its recorders, attached.
        required (Iterable[str]): Names of the recorders that should have a record.
        candidates (Iterable[Any]): Nested structures of shapes, see :func:`list_probe_inputs`.

    Returns:
        ProbeResult: The result. Without records, the recorders are empty.
    """
    required = list(dict.fromkeys(required))
    failure = ProbeResult(missing=required)
    for inputs in candidates:
        result = _run(model, taps, required, inputs)
        if result.inputs is not None:
            return result
        failure.error = failure.error or result.error
    taps.clear()
    return failure


def _run(model: nn.Module, taps: NetworkTaps, required: list[str], inputs: Any) -> ProbeResult:
    result = ProbeResult(missing=required)
    extract_feat = getattr(model, 'extract_feat', None)
    for forward in (extract_feat, model) if extract_feat is not None else (model,):
        taps.clear()
        # The forward pass runs to its end, since a later operation can overwrite a record.
        with (
            evaluating(model),
            taps.manager,
            torch.no_grad(),
            protect_from_inplace(model, taps.manager),
            _observing(model) as (called, map_sizes),
        ):
            try:
                forward(make_inputs(inputs, model))
            except Exception as error:
                result.error = error
            else:
                result.error = None
                result.called |= called
                result.map_sizes |= map_sizes
                result.inputs = inputs
        # If the features could be computed, an error of the head shows only that it needs annotations.
        if result.inputs is not None:
            result.missing = [name for name in required if not taps.is_recorded(name)]
            if not result.missing:
                break
    return result


@contextlib.contextmanager
def _observing(model: nn.Module) -> Iterator[tuple[set[str], set[tuple[int, int]]]]:
    """Collect the names of the modules that are called within the context, and height and width of their maps."""
    called: set[str] = set()
    map_sizes: set[tuple[int, int]] = set()

    def make_hook(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
            called.add(name)
            for tensor in output if isinstance(output, (tuple, list)) else (output,):
                if isinstance(tensor, Tensor) and tensor.dim() == 4:
                    map_sizes.add((tensor.shape[2], tensor.shape[3]))

        return hook

    handles = [module.register_forward_hook(make_hook(name)) for name, module in model.named_modules() if name]
    try:
        yield called, map_sizes
    finally:
        for handle in handles:
            handle.remove()
