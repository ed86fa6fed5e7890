"""The layers of a model that can be tapped, with their shapes, and suggestions of pairs for a student and a teacher."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.models.distillers.probe import evaluating, probe_image
from lckd_mm.models.recorders import PreActivationRecorder
from lckd_mm.models.utils import build_model

from .configs import load_config
from .tables import print_table


class Tap(NamedTuple):
    """A layer that yields a feature map.

    Attributes:
        source: Name of the module.
        data_idx: Index of the map if the module yields several; None if it yields one.
        shape: (B, C, H, W), or (B, N, C) for tokens.
        stride: Size of the image over size of the map; None for tokens that are not a square grid.
        activation: Class name of the activation before which the map is recorded; empty if there is none.
    """

    source: str
    data_idx: int | None
    shape: tuple[int, ...]
    stride: int | None
    activation: str

    @property
    def config(self) -> str | dict[str, Any]:
        """The entry for ``taps`` in a config."""
        return self.source if self.data_idx is None else dict(source=self.source, data_idx=self.data_idx)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[1] if len(self.shape) == 4 else self.shape[2]


def build_networks(configs: Sequence[str]) -> dict[str, nn.Module]:
    """Build the models of one or two configs. Nothing is downloaded.

    Args:
        configs (Sequence[str]): A model, a distillation, or a student and a teacher; each as in
            :func:`lckd_mm.analysis.configs.load_config`.

    Returns:
        dict[str, nn.Module]: The models by role; a single model is named by its config.
    """
    if len(configs) == 2:
        return {
            role: build_model(dict(cfg_path=path)) for role, path in zip(('student', 'teacher'), configs, strict=True)
        }
    model = load_config(configs[0]).get('model', {})
    if 'teacher' in model:
        return {'student': build_model(model['architecture']), 'teacher': build_model(model['teacher'])}
    return {configs[0]: build_model(dict(cfg_path=configs[0]))}


def find_taps(model: nn.Module, size: tuple[int, int], depth: int = 2) -> list[Tap]:
    """Find the layers that yield feature maps.

    Args:
        model (nn.Module): A model of OpenMMLab.
        size (tuple[int, int]): Height and width of the probe image in pixels.
        depth (int): Maximum number of parts of a module name: 2 for ``backbone.layer1``. Containers that are never called, such as
            a ModuleList of stages, are not counted. Defaults to 2.

    Returns:
        list[Tap]: Every layer that yields a map (B, C, H, W) or tokens (B, N, C), in the order of the forward pass.

    Raises:
        ConfigValueError: The model does not run on an image of that size.

    Example:
        >>> model = nn.Sequential()
        >>> model.add_module('backbone', nn.Sequential(nn.Conv2d(3, 4, 1, stride=2), nn.ReLU()))
        >>> [(tap.source, tap.channels, tap.stride, tap.activation) for tap in find_taps(model, (8, 8))]
        [('backbone.0', 4, 2, ''), ('backbone.1', 4, 2, 'ReLU'), ('backbone', 4, 2, 'ReLU')]
    """
    called = _called_modules(model, size)
    names = [name for name in called if _num_parts(name, set(called)) <= depth]
    taps = []
    for name, record, is_output in _record(model, names, size):
        activation = '' if is_output else _last_activation(model.get_submodule(name))
        parts = enumerate(record) if isinstance(record, (tuple, list)) else [(None, record)]
        for index, part in parts:
            if isinstance(part, Tensor) and part.dim() in (3, 4) and part.is_floating_point():
                taps.append(Tap(name, index, tuple(part.shape), _stride(part, size), activation))
    return taps


def _called_modules(model: nn.Module, size: tuple[int, int]) -> list[str]:
    """Return the names of the modules in the order in which they are called, each once."""
    called: list[str] = []

    def note(name: str) -> None:
        called.append(name)

    with _forward_hooks(model, [name for name, _ in model.named_modules() if name], lambda name, _: note(name)):
        _run(model, size)
    return list(dict.fromkeys(called))


def _record(model: nn.Module, names: Iterable[str], size: tuple[int, int]) -> Iterator[tuple[str, Any, bool]]:
    """Yield the name and the first record of each module, and whether the record is the module's output."""
    recorders = {name: PreActivationRecorder(name) for name in names}
    outputs: dict[str, Any] = {}
    for recorder in recorders.values():
        recorder.initialize(model)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_forward_hooks(model, recorders, outputs.setdefault))
        for recorder in recorders.values():
            stack.enter_context(recorder)
        _run(model, size)
    for name, recorder in recorders.items():
        if recorder.data_buffer:
            record = recorder.data_buffer[0]
            yield name, record, not isinstance(record, Tensor) or record is outputs[name]


@contextlib.contextmanager
def _forward_hooks(model: nn.Module, names: Iterable[str], function: Any) -> Iterator[None]:
    """Call ``function(name, output)`` after each call of the named modules within the context."""

    def make_hook(name: str) -> Any:
        # The result of a hook would replace the output, so None is returned.
        def hook(*arguments: Any) -> None:
            function(name, arguments[-1])

        return hook

    handles = [model.get_submodule(name).register_forward_hook(make_hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(model: nn.Module, size: tuple[int, int]) -> None:
    image = probe_image(model, size)
    with torch.no_grad(), evaluating(model):
        extract_feat: Any = getattr(model, 'extract_feat', None)
        if extract_feat is not None:
            try:
                extract_feat(image)
            except Exception as error:
                raise ConfigValueError(
                    f'the model does not run on an image of {size} pixels ({error}): set another size with --size.'
                ) from error
        # A head can fail because it needs annotations; the layers before it have been called.
        with contextlib.suppress(Exception):
            model(image)


def _num_parts(name: str, called: set[str]) -> int:
    """Count the parts of a name, except containers that are never called."""
    parts = name.split('.')
    return sum('.'.join(parts[:n]) in called or n in (1, len(parts)) for n in range(1, len(parts) + 1))


def _last_activation(module: nn.Module) -> str:
    names = [
        type(child).__name__
        for child in module.modules()
        if type(child).__module__.startswith(('torch.nn.modules.activation', 'mmcv'))
    ]
    activations = [name for name in names if name.endswith(('LU', 'ish', 'Swish'))]
    return activations[-1] if activations else 'activation'


def _stride(feature: Tensor, size: tuple[int, int]) -> int | None:
    if feature.dim() == 4:
        return round(size[0] / feature.shape[2])
    side = math.isqrt(feature.shape[1])
    is_square = side * side == feature.shape[1] and size[0] == size[1]
    return round(size[0] / side) if is_square else None


def print_taps(title: str, taps: Sequence[Tap]) -> None:
    """Print a table of taps.

    Args:
        title (str): The title.
        taps (Sequence[Tap]): The taps.
    """
    rows = []
    for tap in taps:
        name = tap.source if tap.data_idx is None else f'{tap.source}, data_idx={tap.data_idx}'
        rows.append([name, ' x '.join(map(str, tap.shape[1:])), str(tap.stride or '-'), tap.activation])
    header = ['tap', 'shape', 'stride', 'recorded before']
    print_table(title, header, rows, width=100, justify=['left', 'right', 'right', 'left'])


def suggest_pairs(student: Sequence[Tap], teacher: Sequence[Tap]) -> list[tuple[Tap, Tap]]:
    """Pair the last backbone layer of the student with that of the teacher at each stride that both networks have.

    Args:
        student (Sequence[Tap]): The student's taps.
        teacher (Sequence[Tap]): The teacher's taps.

    Returns:
        list[tuple[Tap, Tap]]: The pairs by increasing stride. Strides below 4 are omitted if two others remain, since those
        layers have a small receptive field.

    Raises:
        ConfigValueError: The backbones have fewer than two strides in common.

    Example:
        >>> taps = [Tap(f'backbone.layer{i}', None, (1, 8, 8, 8), 2**i, '') for i in (1, 2, 3)]
        >>> [pair[0].source for pair in suggest_pairs(taps, taps)]
        ['backbone.layer2', 'backbone.layer3']
    """
    last_student, last_teacher = (
        {tap.stride: tap for tap in taps if tap.stride is not None and tap.source.startswith('backbone.')}
        for taps in (student, teacher)
    )
    strides = sorted(set(last_student) & set(last_teacher))
    if len(strides) < 2:
        raise ConfigValueError(
            f'the two backbones have the strides {strides} in common, but a pair of taps needs two: choose as many taps for the '
            'student as for the teacher from the tables above.'
        )
    late = [stride for stride in strides if stride >= 4]
    return [(last_student[stride], last_teacher[stride]) for stride in (late if len(late) > 1 else strides)]


def print_pairs(pairs: Sequence[tuple[Tap, Tap]]) -> None:
    """Print pairs of taps as part of a config.

    Args:
        pairs (Sequence[tuple[Tap, Tap]]): Taps of student and teacher.

    Example:
        >>> tap = Tap('backbone.layer1', None, (1, 64, 56, 56), 4, 'ReLU')
        >>> print_pairs([(tap, tap._replace(shape=(1, 256, 56, 56)))])
        Suggestion: the last layers at the common strides (channels 64 to 256)
        model = dict(distiller=dict(
            student_taps=['backbone.layer1'],
            teacher_taps=['backbone.layer1'],
        ))
    """
    channels = ', '.join(f'{student.channels} to {teacher.channels}' for student, teacher in pairs)
    print(f'Suggestion: the last layers at the common strides (channels {channels})')
    print('model = dict(distiller=dict(')
    print(f'    student_taps={[student.config for student, _ in pairs]},')
    print(f'    teacher_taps={[teacher.config for _, teacher in pairs]},')
    print('))')
