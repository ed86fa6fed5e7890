"""A traced forward pass of a model: which modules are called, with which feature maps, and in which order."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.models.distillers.probe import evaluating, inplace_modules
from lckd_mm.models.distillers.probe_inputs import Size, list_probe_inputs, make_inputs, resize_inputs
from lckd_mm.models.distillers.token_grids import TokenGrids
from lckd_mm.spectral import Grid

from .traced_call import Call, Key, find_maps, is_tokens


def trace_model(model: nn.Module, size: Sequence[int] | None = None, first: Size | None = None) -> Call:
    """Run a model in evaluation mode on a black image, and record the calls of its modules with their feature maps.

    Height and width of tokens are derived from the numbers of tokens of three images of different sizes. The graph of the autograd
    engine is kept. Modules that compute in place do not do so in this forward pass.

    Args:
        model (nn.Module): The model.
        size (Sequence[int], optional): Height and width of the image in pixels. Defaults to None: 128 x 128, the size of the model's
            data preprocessor, the `img_size` of its transformer, 224 x 224 and 32 x 32 are tried one after the other.
        first (tuple[int, int], optional): The size to try before these. Defaults to None.

    Returns:
        Call: The forward pass. Its argument is the image, and its children are the calls of the model's modules.

    Raises:
        ConfigValueError: The backbone, or a model without one, does not run on the image.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1, stride=2), nn.ReLU())
        >>> [(call.name, feature.stride) for call in trace_model(model, (8, 8)).walk() for feature in call.maps]
        [('', 2), ('0', 2), ('1', 2)]
    """
    error: Exception | None = None
    for inputs in list_probe_inputs(model, size, None, first):
        # The graph begins at the image, also in frozen layers; a copy may be changed in place.
        image = make_inputs(inputs, model).requires_grad_().clone()
        try:
            root = _run(model, image)
        except Exception as failure:
            error = error or failure
            continue
        find_maps(root, image_size(root), _token_grids(model, root, image_size(root), inputs))
        return root
    raise ConfigValueError(
        f'the model does not run on an image{f" of {tuple(size)} pixels" if size else ""} ({error}): set another size with --size.'
    ) from error


def image_size(root: Call) -> Size:
    """Return height and width in pixels of the image of a traced forward pass."""
    height, width = root.arguments[0].shape[2:]
    return height, width


def _run(model: nn.Module, image: Tensor) -> Call:
    """Run the feature extractor; a model without one is run as a whole, and only its backbone has to return."""
    extract_feat: Any = getattr(model, 'extract_feat', None)
    if extract_feat is not None:
        with _tracing(model, image) as root:
            try:
                extract_feat(image)
            except Exception:
                if not _has_returned(model, root):
                    raise
        if _has_returned(model, root):
            return root
    with _tracing(model, image) as root:
        try:
            model(image)
        except Exception:
            if not _has_returned(model, root):
                raise
    return root


def _has_returned(model: nn.Module, root: Call) -> bool:
    """Return whether the backbone of a model has returned in a traced forward pass."""
    backbone = getattr(model, 'backbone', None)
    return any(call.module is backbone and call.has_returned for call in root.walk())


@contextlib.contextmanager
def _tracing(model: nn.Module, image: Tensor) -> Iterator[Call]:
    root = Call('', model, 0, [image])
    stack, counts = [root], dict[str, int]()

    def begin(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        call = Call(name, module, counts.setdefault(name, 0), [tensor for _, tensor in _tensors([args, kwargs])])
        counts[name] += 1
        stack[-1].children.append(call)
        stack.append(call)

    def end(module: nn.Module, output: Any) -> None:
        while stack[-1].module is not module:
            stack.pop()
        direct = isinstance(output, (Tensor, tuple, list))
        parts = _tensors(output, depth=1) if direct else ()
        call = stack.pop()
        call.outputs, call.has_returned = [(index, tensor, tensor.grad_fn) for index, tensor in parts], True

    def hooks(name: str) -> tuple[Any, Any]:
        return (lambda module, args, kwargs: begin(name, module, args, kwargs)), (
            lambda module, args, kwargs, output: end(module, output)
        )

    handles, inplace = [], inplace_modules(model).values()
    for name, module in model.named_modules():
        before, after = hooks(name)
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))
    for module in inplace:
        setattr(module, 'inplace', False)  # noqa: B010  (`nn.Module` declares no such attribute)
    try:
        with torch.enable_grad(), evaluating(model):
            yield root
    finally:
        for module in inplace:
            setattr(module, 'inplace', True)  # noqa: B010
        for handle in handles:
            handle.remove()


def _tensors(data: Any, depth: int = 4) -> Iterator[tuple[int | None, Tensor]]:
    """Yield the tensors in nested sequences and mappings, each with its index in the innermost sequence."""
    if isinstance(data, Tensor):
        yield None, data
    elif isinstance(data, (tuple, list, dict)) and depth:
        for index, part in enumerate(data.values() if isinstance(data, dict) else data):
            if isinstance(part, Tensor):
                yield index, part
            else:
                yield from _tensors(part, depth - 1)


def _token_grids(model: nn.Module, root: Call, size: Size, inputs: Any) -> dict[Key, Grid | None]:
    """Return the grids of all tokens of a traced forward pass by module, call and index in the output."""
    counts = {size: _count_tokens(root)}
    if not counts[size]:
        return {}
    # The aspect ratio separates height and width, the odd size shows the rounding at the border.
    for other in ((size[0], size[1] + size[1] // 2), (size[0] + 1, size[1] - 1)):
        # A model that takes one size only has one count of tokens.
        with contextlib.suppress(Exception):
            counts[other] = _count_tokens(_run(model, make_inputs(resize_inputs(inputs, other), model)))
    # Most modules yield as many tokens as others, so that their grids are derived together.
    numbers = {key: tuple(counts[probe].get(key, 0) for probe in counts) for key in counts[size]}
    grids = TokenGrids()
    for key in set(numbers.values()):
        for probe, number in zip(counts, key):
            grids.observe(key, number, probe)
    maps = [tensor for call in root.walk() for _, tensor, _ in call.outputs if tensor.dim() == 4]
    grids.prefer({(tensor.shape[2], tensor.shape[3]) for tensor in maps}, size)
    found = {key: grids.find(key, key[0], size) for key in set(numbers.values())}
    if not any(found.values()):
        found = {key: grids.find_likely(key, key[0], size) for key in found}
    return {key: found[number] for key, number in numbers.items()}


def _count_tokens(root: Call) -> dict[Key, int]:
    return {
        (call.name, call.record_idx, index): tensor.shape[1]
        for call in root.walk()
        for index, tensor, _ in call.outputs
        if is_tokens(tensor)
    }
