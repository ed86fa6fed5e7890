import contextlib
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from mmengine.logging import print_log
from mmrazor.models.task_modules import RecorderManager
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lckd_mm.errors import ConfigTypeError, ConfigValueError, unknown_name

from ..utils.tensors import find_tensors
from .folded_bn import ConvolutionTrace, Pair, fold, is_plain

PRECISIONS = ('bfloat16', 'float16')
# The largest root mean square of the change of a recorded map by an exact mode, as a share of that of the map.
BOUND = 1e-5


class TeacherExecution:
    """How the forward pass of a frozen teacher runs.

    The modes ``channels_last`` and ``fold_bn`` are exact except for rounding. They are tried on a random image before training, one
    after the other. A mode stays off, with a warning, if it changes a recorded map by more than :data:`BOUND`, 1e-5 of the root mean
    square of the map.

    Parameters, buffers and modules of the teacher stay as they are. Within a forward pass, the convolutions use copies of their weights,
    which are renewed when the weights change. A BN is folded only if it alone reads the output of its convolution.

    Args:
        fold_bn (bool): Whether BNs are folded into the convolutions before them. Defaults to False.
        channels_last (bool): Whether the teacher computes in the memory format (batch, height, width, channels). Defaults to False.
        precision (str, optional): The data type of autocast in the teacher, ``'bfloat16'`` or ``'float16'``. Recorded maps are converted
            to float32, unless the training itself uses autocast. Not exact. Defaults to None, that of the training.

    Raises:
        ConfigTypeError: ``fold_bn`` or ``channels_last`` is not a bool.
        ConfigValueError: ``precision`` is unknown.

    Example:
        >>> teacher = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> manager = RecorderManager(dict(bn=dict(type='ModuleOutputs', source='1')))
        >>> manager.initialize(teacher)
        >>> execution = TeacherExecution(fold_bn=True)
        >>> execution.prepare(teacher, manager, [torch.zeros(2, 3, 8, 8)])
        >>> execution.folded == [teacher[1]]
        True
    """

    def __init__(self, fold_bn: bool = False, channels_last: bool = False, precision: str | None = None) -> None:
        for name, value in dict(fold_bn=fold_bn, channels_last=channels_last).items():
            if not isinstance(value, bool):
                raise ConfigTypeError(f'teacher_execution.{name}={value!r} is not a bool: use True or False.')
        if precision is not None and precision not in PRECISIONS:
            raise ConfigValueError(unknown_name('teacher_execution.precision', precision, PRECISIONS))
        self._options = dict(channels_last=channels_last, fold_bn=fold_bn)
        self.precision = precision
        self.modes: list[str] = []
        self._convolutions: list[nn.Conv2d] = []
        self._pairs: list[Pair] = []
        self._weights: dict[nn.Conv2d, tuple[Any, dict[str, nn.Parameter | None]]] = {}

    @property
    def is_exact(self) -> bool:
        """Whether an exact mode is configured."""
        return any(self._options.values())

    @property
    def folded(self) -> list[_BatchNorm]:
        """The BNs that are folded."""
        return [bn for _, bn in self._pairs] if 'fold_bn' in self.modes else []

    def __deepcopy__(self, memo: dict[int, Any]) -> 'TeacherExecution':
        # A copy of the distillation shares the teacher.
        copied = TeacherExecution(precision=self.precision, **self._options)
        copied.modes, copied._convolutions, copied._pairs = list(self.modes), self._convolutions, self._pairs
        return copied

    def prepare(self, teacher: nn.Module, manager: RecorderManager, candidates: Iterable[Any]) -> None:
        """Find what can be folded, and switch on the exact modes whose recorded maps stay within the bound.

        Args:
            teacher (nn.Module): The teacher with its weights, in evaluation mode.
            manager (RecorderManager): Its recorders, attached.
            candidates (Iterable[Any]): Inputs of the teacher. The first on which it records a map are used.
        """
        self.modes = []
        for inputs in candidates if self.is_exact else ():
            forward = _find_forward(teacher, manager, inputs)
            if forward is not None:
                break
        else:
            if self.is_exact:
                _warn(
                    'the teacher records no map on a probe image, so that `teacher_execution` runs it without its exact modes.'
                )
            return
        with ConvolutionTrace(teacher) as trace:
            expected = _record(forward, manager, inputs)
        self._pairs = trace.pairs(find_tensors(expected))
        self._convolutions = [
            module for module in teacher.modules() if isinstance(module, nn.Conv2d) and is_plain(module)
        ]
        for mode in (name for name, is_on in self._options.items() if is_on):
            self.modes.append(mode)
            with self._layers_replaced():
                actual = _record(forward, manager, inputs)
            change, source = _largest_change(actual, expected, manager)
            if change <= BOUND:
                count = f' ({len(self._pairs)} BNs)' if mode == 'fold_bn' else ''
                print_log(
                    f'teacher_execution.{mode}{count} changes the recorded maps of the teacher by {change:.1e} of their root mean square '
                    'or less.',
                    logger='current',
                )
            else:
                self.modes.remove(mode)
                _warn(
                    f"teacher_execution.{mode} stays off: it changes the teacher's tap {source!r} by {change:.1e} of its root mean "
                    f'square, more than {BOUND:.0e}.'
                )

    def run(
        self, forward: Callable[..., Any], inputs: Any, *args: Any, manager: RecorderManager, **kwargs: Any
    ) -> None:
        """Fill the recorders by a forward pass without a gradient.

        Args:
            forward (Callable): Runs the teacher.
            inputs (Any): Its pixels.
            *args: Further arguments of ``forward``.
            manager (RecorderManager): The recorders, which record.
            **kwargs: Further arguments of ``forward``.
        """
        device_type = next((tensor.device.type for tensor in find_tensors(inputs)), 'cpu')
        keeps_type = self.precision is None or torch.is_autocast_enabled(device_type)
        autocast = (
            contextlib.nullcontext()
            if self.precision is None
            else torch.autocast(device_type, dtype=getattr(torch, self.precision))
        )
        # Tensors of `inference_mode` have no version counter, and losses cannot save them for the backward pass.
        with torch.no_grad(), autocast, self._layers_replaced():
            forward(inputs, *args, **kwargs)
            if not keeps_type:
                convert_records(manager, lambda tensor: tensor.float())

    @contextlib.contextmanager
    def _layers_replaced(self) -> Iterator[None]:
        """Let the convolutions use their copies of the weights, and the folded BNs return their input."""
        bn_of = dict(self._pairs) if 'fold_bn' in self.modes else {}
        layers = self._convolutions if 'channels_last' in self.modes else list(bn_of)
        parameters = {layer: layer._parameters for layer in layers}
        try:
            for layer in layers:
                layer.__dict__['_parameters'] = self._weights_of(layer, bn_of.get(layer))
            for bn in bn_of.values():
                bn.__dict__['forward'] = _identity
            yield
        finally:
            for layer, original in parameters.items():
                layer.__dict__['_parameters'] = original
            for bn in bn_of.values():
                bn.__dict__.pop('forward', None)

    def _weights_of(self, conv: nn.Conv2d, bn: _BatchNorm | None) -> dict[str, nn.Parameter | None]:
        """Return the parameters that a convolution uses, renewed if one of the teacher's tensors has changed."""
        sources = [
            tensor
            for module in (conv, bn)
            if module is not None
            for tensor in (*module._parameters.values(), *module._buffers.values())
            if tensor is not None
        ]
        version = [bn, *self.modes, *((id(t), t._version, t.device, t.dtype) for t in sources)]
        known = self._weights.get(conv)
        if known is not None and known[0] == version:
            return known[1]
        with torch.no_grad():
            weight, bias = (conv.weight, conv.bias) if bn is None else fold(conv, bn)
            if 'channels_last' in self.modes:
                # The backward pass of torch 2.13, which can crash in this format, is not used.
                weight = weight.contiguous(memory_format=torch.channels_last)
            tensors = dict(weight=weight, bias=bias)
            used = {key: t if t is None else nn.Parameter(t, requires_grad=False) for key, t in tensors.items()}
        self._weights[conv] = version, used
        return used


def make_teacher_execution(options: dict[str, Any] | None, is_frozen: bool) -> TeacherExecution:
    """Build a :class:`TeacherExecution` from ``teacher_execution``.

    Args:
        options (dict, optional): The options.
        is_frozen (bool): Whether the teacher is frozen and in evaluation mode.

    Raises:
        ConfigTypeError: ``options`` is no dict, or an option is unknown; also as in :class:`TeacherExecution`.
        ConfigValueError: The teacher is not frozen, or as in :class:`TeacherExecution`.
    """
    if options is None:
        return TeacherExecution()
    valid = list(inspect.signature(TeacherExecution).parameters)
    if not isinstance(options, dict):
        raise ConfigTypeError(f'teacher_execution={options!r} is no dict: give its options, {" or ".join(valid)}.')
    for name in options:
        if name not in valid:
            raise ConfigTypeError(unknown_name('option of `teacher_execution`', name, valid))
    execution = TeacherExecution(**options)
    if options and not is_frozen:
        raise ConfigValueError(
            f'teacher_execution={options!r} needs a frozen teacher in evaluation mode: remove it, or set teacher_trainable=False and '
            'teacher_norm_eval=True.'
        )
    return execution


def convert_records(manager: RecorderManager, convert: Callable[[Tensor], Tensor]) -> None:
    """Replace the half-precision tensors in the records of all recorders."""

    def replace(value: Any) -> Any:
        if isinstance(value, Tensor):
            return convert(value) if value.dtype in (torch.bfloat16, torch.float16) else value
        return type(value)(map(replace, value)) if type(value) in (list, tuple) else value

    for recorder in manager.recorders.values():
        if hasattr(recorder, 'convert_records'):
            recorder.convert_records(replace)
        else:
            recorder._data_buffer = [replace(record) for record in recorder.data_buffer]


def _identity(x: Tensor) -> Tensor:
    return x


def _find_forward(teacher: Any, manager: RecorderManager, inputs: Any) -> Callable[[Any], Any] | None:
    """Return what records most maps from inputs, the feature extractor or the whole teacher; None if neither records any."""
    best, most = None, 0
    for forward in filter(None, (getattr(teacher, 'extract_feat', None), teacher)):
        # The heads of a model need annotations, whose absence raises any exception.
        with contextlib.suppress(Exception):
            num_maps = len(list(find_tensors(_record(forward, manager, inputs))))
            if num_maps > most:
                best, most = forward, num_maps
    return best


def _record(forward: Callable[[Any], Any], manager: RecorderManager, inputs: Any) -> list[Any]:
    with torch.no_grad(), manager:
        forward(inputs)
    records = [list(recorder.data_buffer) for recorder in manager.recorders.values()]
    for recorder in manager.recorders.values():
        recorder.reset_data_buffer()
    return records


def _largest_change(actual: list[Any], expected: list[Any], manager: RecorderManager) -> tuple[float, str]:
    """Return the largest root mean square of a change, as a share of that of the recorded map, and the source of the map."""
    largest = (0.0, '')
    for recorder, values, references in zip(manager.recorders.values(), actual, expected, strict=True):
        for value, reference in zip(find_tensors(values), find_tensors(references), strict=True):
            size = reference.double().norm()
            change = (value.double() - reference.double()).norm() / size if size else value.double().norm()
            # A share that is not a number is larger than any.
            largest = max(largest, (float(change.nan_to_num(float('inf'))), recorder.source))
    return largest


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
