"""The inputs of a probe: nested structures of shapes, and the tensors of these shapes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError

Size = tuple[int, int]

# Multiples of 32 pixels, the stride of most backbones. The second is the size of ImageNet models, the third that of CIFAR and padded
# MNIST; some models take no other.
DEFAULT_SIZES: tuple[Size, ...] = ((128, 128), (224, 224), (32, 32))


def check_probe_options(size: Sequence[int] | None, inputs: Any) -> None:
    """Check ``probe_size`` and ``probe_inputs``.

    Raises:
        ConfigValueError: ``size`` is not two positive integers, ``inputs`` contain something else than shapes, tensors and strings, or
            both are given.
    """
    is_pair = isinstance(size, (tuple, list)) and len(size) == 2
    if size is not None and not (is_pair and all(isinstance(n, int) and n > 0 for n in size)):
        raise ConfigValueError(
            f'probe_size={size!r} is not valid: give height and width of the probe image in pixels, (224, 224) for example.'
        )
    if inputs is None:
        return
    if size is not None:
        raise ConfigValueError(
            f'probe_size={tuple(size)} and probe_inputs={inputs} are both given: remove `probe_size`, the shapes have the size.'
        )
    for leaf in _leaves(inputs):
        if not isinstance(leaf, (Tensor, str)) and not (_is_shape(leaf) and min(leaf) > 0):
            raise ConfigValueError(
                f'probe_inputs contains {leaf!r}, which is no shape: give the shape of one image, (4, 224, 224) for example, or a list or '
                'dict of shapes for a model of several inputs.'
            )


def list_probe_inputs(model: nn.Module, size: Sequence[int] | None, inputs: Any, first: Size | None) -> list[Any]:
    """Return the inputs that the probe of a model tries one after the other.

    The number of channels is that of the first convolution of the model, or of the mean of its data preprocessor, or 3.

    Args:
        model (nn.Module): The network.
        size (Sequence[int], optional): ``probe_size``; None for the default sizes and that of the data preprocessor.
        inputs (Any): ``probe_inputs``, which are the only ones if given.
        first (tuple[int, int], optional): The size to begin with, that of the other network.

    Returns:
        list: Nested structures of shapes.

    Example:
        >>> list_probe_inputs(nn.Conv2d(4, 8, 3), (64, 96), None, None)
        [(4, 64, 96), (3, 64, 96)]
    """
    if inputs is not None:
        return [inputs]
    preprocessor = getattr(model, 'data_preprocessor', None)
    if size is not None:
        sizes = [(size[0], size[1])]
    else:
        # The names of the image size of a transformer and of its patches, some of which take no other.
        configured = [
            getattr(module, name, None) for module in model.modules() for name in ('img_size', 'init_input_size')
        ]
        configured = [getattr(preprocessor, 'size', None), *(value for value in configured if value is not None)]
        sizes = [first] if first is not None else []
        sizes += [DEFAULT_SIZES[0], *filter(None, map(_as_size, configured[:2])), *DEFAULT_SIZES[1:]]
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    first_convolution, mean = next(convolutions, None), getattr(preprocessor, 'mean', None)
    channels = [] if first_convolution is None else [first_convolution.in_channels]
    channels += [mean.numel()] if isinstance(mean, Tensor) else []
    candidates = [(count, *image_size) for image_size in sizes for count in (*channels, 3)]
    return list(dict.fromkeys(candidates))


def _as_size(value: Any) -> Size | None:
    if isinstance(value, int):
        return value, value
    return (value[0], value[1]) if isinstance(value, (tuple, list)) and len(value) == 2 else None


def make_inputs(inputs: Any, model: nn.Module, generator: torch.Generator | None = None) -> Any:
    """Return black images, batches of one, of the given shapes, with the data type and the device of the model.

    Args:
        inputs (Any): Nested structure of shapes.
        model (nn.Module): The network.
        generator (torch.Generator, optional): Draws images of normally distributed values instead. Defaults to None.

    Example:
        >>> made = make_inputs(dict(rgb=(3, 8, 8), depth=(1, 8, 8)), nn.Conv2d(3, 1, 1))
        >>> made['depth'].shape
        torch.Size([1, 1, 8, 8])
    """
    parameter = next(model.parameters(), torch.zeros(()))
    if isinstance(inputs, Tensor):
        return inputs[:1].to(parameter.device)
    if isinstance(inputs, str):
        return inputs
    if _is_shape(inputs):
        if generator is not None:
            return torch.randn(1, *inputs, generator=generator).to(parameter)
        return torch.zeros(1, *inputs, dtype=parameter.dtype, device=parameter.device)
    if isinstance(inputs, Mapping):
        return {name: make_inputs(value, model, generator) for name, value in inputs.items()}
    return [make_inputs(value, model, generator) for value in inputs]


def resize_inputs(inputs: Any, size: Size) -> Any:
    """Return the inputs with another height and width of all images.

    Example:
        >>> resize_inputs([(3, 64, 64), 'a photo'], (64, 96))
        [(3, 64, 96), 'a photo']
    """
    if _is_shape(inputs):
        return (inputs[0], *size) if len(inputs) == 3 else inputs
    if isinstance(inputs, Mapping):
        return {name: resize_inputs(value, size) for name, value in inputs.items()}
    return [resize_inputs(value, size) for value in inputs] if isinstance(inputs, (tuple, list)) else inputs


def describe_inputs(inputs: Any) -> str:
    """Return the shapes for a message.

    Example:
        >>> describe_inputs([(3, 64, 64), (1, 32, 32)])
        '3 x 64 x 64, 1 x 32 x 32'
    """
    leaves = [leaf.shape[1:] if isinstance(leaf, Tensor) else leaf for leaf in _leaves(inputs)]
    return ', '.join(repr(leaf) if isinstance(leaf, str) else ' x '.join(map(str, leaf)) for leaf in leaves)


def _is_shape(inputs: Any) -> bool:
    return isinstance(inputs, (tuple, list)) and len(inputs) > 0 and all(isinstance(n, int) for n in inputs)


def _leaves(inputs: Any) -> Iterator[Any]:
    if isinstance(inputs, Mapping):
        for value in inputs.values():
            yield from _leaves(value)
    elif isinstance(inputs, (tuple, list)) and inputs and not any(isinstance(n, int) for n in inputs):
        for value in inputs:
            yield from _leaves(value)
    else:
        yield inputs
