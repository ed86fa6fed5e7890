"""Reports of the layers of a model that can be tapped, and of those that a distillation should tap."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from lckd_mm.models.utils import build_model

from .configs import load_config
from .forward_trace import trace_model
from .tables import print_table
from .tap_finder import Tap, make_tap
from .tap_pairs import TapPairs


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


def list_layers(model: nn.Module, size: Sequence[int] | None = None, depth: int = 2) -> list[Tap]:
    """List all layers that yield feature maps.

    Args:
        model (nn.Module): A model of OpenMMLab.
        size (Sequence[int], optional): Height and width of the probe image in pixels, as in :func:`trace_model`. Defaults to None.
        depth (int): Maximum number of parts of a module name: 2 for ``backbone.layer1``. Containers that are never called, such as
            a ModuleList of stages, are not counted. Defaults to 2.

    Returns:
        list[Tap]: Every layer that yields a map (B, C, H, W) or tokens (B, N, C), in the order of the forward pass.

    Raises:
        ConfigValueError: The model does not run on an image of that size.

    Example:
        >>> model = nn.Sequential()
        >>> model.add_module('backbone', nn.Sequential(nn.Conv2d(3, 4, 1, stride=2), nn.ReLU()))
        >>> [(tap.source, tap.channels, tap.stride, tap.activation) for tap in list_layers(model, (8, 8))]
        [('backbone', 4, 2, 'ReLU'), ('backbone.0', 4, 2, ''), ('backbone.1', 4, 2, 'ReLU')]
    """
    calls = [call for call in trace_model(model, size).walk() if call.name]
    called = {call.name for call in calls}
    return [
        make_tap(call, feature)
        for call in calls
        if call.record_idx == 0 and _num_parts(call.name, called) <= depth
        for feature in call.maps
    ]


def _num_parts(name: str, called: set[str]) -> int:
    """Count the parts of a name, except containers that are never called."""
    parts = name.split('.')
    return sum('.'.join(parts[:n]) in called or n in (1, len(parts)) for n in range(1, len(parts) + 1))


def print_layers(title: str, taps: Sequence[Tap]) -> None:
    """Print a table of layers.

    Args:
        title (str): The title.
        taps (Sequence[Tap]): The layers.
    """
    rows = [[_name(tap), _shape(tap), str(tap.stride), _grid(tap), tap.activation] for tap in taps]
    header = ['tap', 'shape', 'stride', 'grid', 'recorded before']
    print_table(title, header, rows, width=110, justify=['left', 'right', 'right', 'right', 'left'])


def print_taps(title: str, taps: Sequence[Tap]) -> None:
    """Print the taps of one model with the reasons, and as part of a config.

    Args:
        title (str): The title.
        taps (Sequence[Tap]): The taps.

    Example:
        >>> from lckd_mm.spectral import Grid
        >>> print_taps('my_model.py', [Tap('layer1', None, 0, (1, 64, 56, 56), 4, Grid(56, 56), 'ReLU', 'last map at stride 4')])
        my_model.py
          layer1: 64 x 56 x 56, stride 4, grid 56 x 56: last map at stride 4
        model = dict(distiller=dict(
            taps=['layer1'],
        ))
    """
    print(title)
    for tap in taps:
        print(f'  {_describe(tap)}')
    _print_config(taps=[tap.config for tap in taps])


def print_pairs(found: TapPairs) -> None:
    """Print pairs of taps with the reasons, and as part of a config; then the layers of other losses.

    Args:
        found (TapPairs): The result of :func:`find_pairs`.

    Example:
        >>> from lckd_mm.spectral import Grid
        >>> tap = Tap('backbone.layer1', None, 0, (1, 64, 56, 56), 4, Grid(56, 56), 'ReLU', 'last map at stride 4 before its ReLU')
        >>> print_pairs(TapPairs([(tap, tap._replace(shape=(1, 256, 56, 56)))], [], False, ('neck', (8, 16)), ('head.fc', 'head.fc')))
        Taps at equal strides
          student backbone.layer1: 64 x 56 x 56, stride 4, grid 56 x 56: last map at stride 4 before its ReLU
          teacher backbone.layer1: 256 x 56 x 56, stride 4, grid 56 x 56: last map at stride 4 before its ReLU
        model = dict(distiller=dict(
            taps=['backbone.layer1'],
        ))
        The feature pyramids have equal strides, (8, 16): dict(type='pkd', taps=['neck']) compares their levels.
        The class scores, head.fc of the student and head.fc of the teacher, are compared by 'kd', 'dkd' and 'dist', without taps.
    """
    print_tap_pairs(found)
    configs = [[tap.config for tap in taps] for taps in zip(*found.pairs)]
    if configs[0] == configs[1]:
        _print_config(taps=configs[0])
    else:
        _print_config(student_taps=configs[0], teacher_taps=configs[1])
    if found.pyramid is not None:
        name, strides = found.pyramid
        print(
            f"The feature pyramids have equal strides, {strides}: dict(type='pkd', taps=[{name!r}]) compares their levels."
        )
    if found.logits is not None:
        student_layer, teacher_layer = found.logits
        print(
            f'The class scores, {student_layer} of the student and {teacher_layer} of the teacher, are compared by '
            + (
                "'kd' and 'dist', without taps, and by 'cwd' with taps='logits'."
                if found.has_score_maps
                else "'kd', 'dkd' and 'dist', without taps."
            )
        )


def print_tap_pairs(found: TapPairs) -> None:
    """Print pairs of taps with the reasons.

    Args:
        found (TapPairs): The result of :func:`find_pairs`.
    """
    title = 'Taps in order, since few strides are equal; only the Lipschitz loss compares maps of different sizes'
    print(title if found.in_order else 'Taps at equal strides')
    for student, teacher in found.pairs:
        print(f'  student {_describe(student)}\n  teacher {_describe(teacher)}')
    for tap in found.unpaired:
        print(f'  without a counterpart: {_describe(tap)}')


def _print_config(**taps: list[Any]) -> None:
    print('model = dict(distiller=dict(')
    for name, entries in taps.items():
        texts = [_config_text(entry) for entry in entries]
        if all(isinstance(entry, str) for entry in entries):
            print(f'    {name}=[{", ".join(texts)}],')
        else:
            print(f'    {name}=[', *(f'        {text},' for text in texts), '    ],', sep='\n')
    print('))')


def _config_text(entry: str | dict[str, Any]) -> str:
    if isinstance(entry, str):
        return repr(entry)
    return f'dict({", ".join(f"{key}={value!r}" for key, value in entry.items())})'


def _describe(tap: Tap) -> str:
    return f'{_name(tap)}: {_shape(tap)}, stride {tap.stride}, grid {_grid(tap)}: {tap.reason}'


def _name(tap: Tap) -> str:
    indices = {} if isinstance(tap.config, str) else tap.config
    return ', '.join([tap.source, *(f'{key}={value}' for key, value in indices.items() if key != 'source')])


def _shape(tap: Tap) -> str:
    return ' x '.join(map(str, tap.shape[1:]))


def _grid(tap: Tap) -> str:
    prefix = f' + {tap.grid.num_prefix}' if tap.grid.num_prefix else ''
    return f'{tap.grid.height} x {tap.grid.width}{prefix}'
