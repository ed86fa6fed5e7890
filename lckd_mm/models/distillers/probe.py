"""A forward pass on a probe image, which shows the shapes of the taps and what would overwrite them."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from mmrazor.models.task_modules import RecorderManager
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError

from ..interfaces import detects_overwriting
from .network_taps import NetworkTaps


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set every module to evaluation mode within the context, and restore each module's mode afterwards.

    Example:
        >>> model = nn.Sequential(nn.Dropout())
        >>> with evaluating(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def protect_from_inplace(model: nn.Module, manager: RecorderManager) -> Iterator[None]:
    """Find what overwrites a record in the forward pass within the context, and prevent it from then on.

    Activations that would overwrite a record no longer compute in place. A recorder whose record is overwritten by an operation that
    cannot be switched off, such as ``out += identity``, stores copies.
    """

    def switch_off(module: Any, inputs: tuple) -> None:
        if inputs and any(inputs[0] is record for r in manager.recorders.values() for record in r.data_buffer):
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


def inplace_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that compute in place, by name."""
    return {name: module for name, module in model.named_modules() if getattr(module, 'inplace', False) is True}


def probe_image(model: nn.Module, size: Sequence[int]) -> Tensor:
    """Return a black image (1, 3, H, W) with the data type and the device of the model."""
    parameter = next(model.parameters())
    return torch.zeros(1, 3, *size, dtype=parameter.dtype, device=parameter.device)


def run_probe(model: nn.Module, taps: NetworkTaps, required: Iterable[str], size: Sequence[int]) -> None:
    """Fill the recorders of a network from a probe image.

    The feature extractor runs first, since it needs no annotations. The whole model runs if a required tap is still empty.

    Args:
        model (nn.Module): The network.
        taps (NetworkTaps): Its recorders, attached.
        required (Iterable[str]): Names of the recorders that must have a record.
        size (Sequence[int]): Height and width of the image in pixels.

    Raises:
        ConfigValueError: The model does not run on the image, or a required recorder stays empty.
    """
    required = list(required)
    image = probe_image(model, size)
    extract_feat = getattr(model, 'extract_feat', None)
    for forward in (extract_feat, model) if extract_feat is not None else (model,):
        taps.clear()
        # The forward pass runs to its end, since a later operation can overwrite a record.
        with evaluating(model), taps.manager, torch.no_grad(), protect_from_inplace(model, taps.manager):
            try:
                forward(image)
            except Exception as error:
                # The features could be computed, so a head failed because it needs annotations.
                if forward is not model or extract_feat is None:
                    raise ConfigValueError(
                        f'the {taps.role} does not run on a probe image of {size[0]} x {size[1]} pixels '
                        f'({type(error).__name__}: {error}); set `probe_size` of the distiller to a size that the model takes.'
                    ) from error
        missing = [name for name in required if not taps.is_recorded(name)]
        if not missing:
            return
    raise ConfigValueError(
        f"the {taps.role}'s tap {taps.source(missing[0])!r} recorded nothing: the forward pass of {type(model).__name__} does not reach "
        'it without annotations; tap the backbone or the neck.'
    )
