"""Pairs of taps of a student and a teacher, and the layers of other distillation losses."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.models.distillers.probe import evaluating
from lckd_mm.models.recorders.logits_recorder import find_logits

from .forward_trace import image_size, trace_model
from .tap_finder import Tap, select_taps, spread
from .traced_call import Call

# Attributes of mmdet's models whose scores are those of regions, levels or queries.
_REGION_HEADS = {'bbox_head', 'roi_head', 'rpn_head', 'mask_head', 'panoptic_head'}


class TapPairs(NamedTuple):
    """The layers at which a distillation compares a student with a teacher.

    Attributes:
        pairs: Taps of student and teacher, from first to last.
        unpaired: Taps without a counterpart.
        in_order: Whether the taps are paired in order, at different strides.
        pyramid: Name of the neck and its strides, if both networks have one with the same strides; else None.
        logits: Names of the layers that compute the class scores of student and teacher, if these correspond: they have as many classes,
            and one score per class for an image or a position of it. Else None.
        has_score_maps: Whether the class scores are maps.
        logits_obstacle: Why there are no corresponding class scores; empty if there are.
    """

    pairs: list[tuple[Tap, Tap]]
    unpaired: list[Tap]
    in_order: bool
    pyramid: tuple[str, tuple[int, ...]] | None
    logits: tuple[str, str] | None
    has_score_maps: bool = False
    logits_obstacle: str = ''


def find_pairs(student: nn.Module, teacher: nn.Module, size: Sequence[int] | None = None) -> TapPairs:
    """Find the layers at which a distillation compares a student with a teacher.

    The taps of both networks are those of :func:`find_taps`. Frozen layers of the student are no taps.

    Args:
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.
        size (Sequence[int], optional): As in :func:`trace_model`. Defaults to None.

    Returns:
        TapPairs: The layers.

    Raises:
        ConfigValueError: As in :func:`find_taps` and :func:`pair_taps`.

    Example:
        >>> def network(channels):
        ...     return nn.Sequential(nn.Conv2d(3, channels, 3, stride=2), nn.Conv2d(channels, 8, 3, stride=2))
        >>> [(student.source, teacher.channels) for student, teacher in find_pairs(network(4), network(6)).pairs]
        [('0', 6), ('1', 8)]
    """
    return select_pairs(student, teacher, _trace_both(student, teacher, size))


def select_pairs(student: nn.Module, teacher: nn.Module, roots: tuple[Call, Call]) -> TapPairs:
    """Find the layers in traced forward passes of both networks; result as in :func:`find_pairs`."""
    taps = select_taps(student, roots[0], trained=True), select_taps(teacher, roots[1])
    pairs = pair_taps(*taps)
    paired = [tap for pair in pairs for tap in pair]
    logits, obstacle = _common_logits(student, teacher, *roots)
    return TapPairs(
        pairs=pairs,
        unpaired=[tap for tap in (*taps[0], *taps[1]) if tap not in paired],
        in_order=any(first.stride != second.stride for first, second in pairs),
        pyramid=_common_pyramid(student, teacher, *roots),
        logits=logits,
        has_score_maps=logits is not None and isinstance(student.get_submodule(logits[0]), nn.Conv2d),
        logits_obstacle=obstacle,
    )


def _trace_both(student: nn.Module, teacher: nn.Module, size: Sequence[int] | None = None) -> tuple[Call, Call]:
    """Trace both networks, on images of one size if they take one; arguments as in :func:`find_pairs`."""
    student_root = trace_model(student, size)
    teacher_root = trace_model(teacher, size, image_size(student_root))
    if image_size(teacher_root) != image_size(student_root):
        student_root = trace_model(student, size, image_size(teacher_root))
    return student_root, teacher_root


def pair_taps(student: Sequence[Tap], teacher: Sequence[Tap]) -> list[tuple[Tap, Tap]]:
    """Pair the taps of a student with those of a teacher at equal strides, evenly where a stride has several.

    Taps at a stride that only one network has are left out. If that leaves out more than one tap of the network with fewer taps, the taps
    are paired in order: the Lipschitz loss compares the norms of two networks, not their maps, and needs no equal strides.

    Args:
        student (Sequence[Tap]): The student's taps.
        teacher (Sequence[Tap]): The teacher's taps.

    Returns:
        list[tuple[Tap, Tap]]: The pairs by increasing stride.

    Raises:
        ConfigValueError: A network has fewer than two taps.

    Example:
        >>> from lckd_mm.spectral import Grid
        >>> blocks = [Tap(f'layers.{i}', None, 0, (1, 64, 8), 16, Grid(8, 8), '') for i in range(4)]
        >>> stages = [tap._replace(source=f'stage{i}') for i, tap in enumerate(blocks[:2])]
        >>> [(a.source, b.source) for a, b in pair_taps(blocks, stages)]
        [('layers.1', 'stage0'), ('layers.3', 'stage1')]
        >>> stages = [tap._replace(stride=4 * 2**i) for i, tap in enumerate(stages)]
        >>> [(a.source, b.stride) for a, b in pair_taps(blocks, stages)]
        [('layers.1', 4), ('layers.3', 8)]
    """
    for role, taps in (('student', student), ('teacher', teacher)):
        if len(taps) < 2:
            raise ConfigValueError(
                f'the {role} has {len(taps)} taps {[tap.source for tap in taps]}, but the Lipschitz loss needs two: name layers of your '
                'choice as `student_taps` and `teacher_taps`; `python -m lckd_mm taps FILE --depth 3` lists them.'
            )
    pairs: list[tuple[Tap, Tap]] = []
    for stride in sorted({tap.stride for tap in student}):
        sides = [[tap for tap in taps if tap.stride == stride] for taps in (student, teacher)]
        count = min(map(len, sides))
        if count:
            pairs += zip(*(spread(side, count) for side in sides))
    count = min(len(student), len(teacher))
    if len(pairs) < max(2, count - 1):
        return list(zip(spread(student, count), spread(teacher, count)))
    return pairs


def _common_pyramid(
    student: nn.Module, teacher: nn.Module, student_root: Call, teacher_root: Call
) -> tuple[str, tuple[int, ...]] | None:
    levels = [_pyramid_strides(model, root) for model, root in ((student, student_root), (teacher, teacher_root))]
    return ('neck', levels[0]) if len(levels[0]) > 1 and levels[0] == levels[1] else None


def _pyramid_strides(model: nn.Module, root: Call) -> tuple[int, ...]:
    """Return the strides of the levels of a model's neck; empty if it has none, or if a level is no feature map."""
    neck = getattr(model, 'neck', None)
    call = next((call for call in root.walk() if call.module is neck and call.outputs), None)
    levels = [] if call is None else [tensor for _, tensor, _ in call.outputs]
    if any(level.dim() != 4 for level in levels):
        return ()
    height = image_size(root)[0]
    return tuple(round(height / level.shape[2]) for level in levels)


def _common_logits(
    student: nn.Module, teacher: nn.Module, student_root: Call, teacher_root: Call
) -> tuple[tuple[str, str] | None, str]:
    """Return the names of corresponding layers of class scores, or why there are none."""
    try:
        names = find_logits(student), find_logits(teacher)
    except ConfigValueError:
        return None, 'a model has no layer of class scores'
    layers = student.get_submodule(names[0]), teacher.get_submodule(names[1])
    counts = [getattr(layer, 'out_features', getattr(layer, 'out_channels', None)) for layer in layers]
    if counts[0] != counts[1]:
        return None, f'the student has {counts[0]} classes and the teacher {counts[1]}'
    if type(layers[0]) is not type(layers[1]):
        return None, 'the class scores of one model are maps, those of the other are not'
    networks = (student, student_root), (teacher, teacher_root)
    obstacles = [_scores_obstacle(name, *network) for name, network in zip(names, networks, strict=True)]
    obstacle = obstacles[0] or obstacles[1]
    return (None if obstacle else names), obstacle


def _scores_obstacle(name: str, model: nn.Module, root: Call) -> str:
    """Return why a layer does not compute one score per class for an image or its positions; empty if it does.

    Scores of regions or queries of two networks do not correspond, since each network chooses its own.
    """
    layer, image = model.get_submodule(name), root.arguments[0]
    calls = [call for call in root.walk() if call.module is layer and call.outputs]
    shapes = [tuple(call.outputs[0][1].shape) for call in calls] or _output_shapes(layer, model, image)
    # A linear layer has the classes last.
    num_dims = (2, 4) if isinstance(layer, nn.Conv2d) else (2,)
    is_of_images = len(shapes) == 1 and shapes[0][0] == len(image) and len(shapes[0]) in num_dims
    if not shapes:
        # Some heads do not run without annotations, or on a small image. Those of detectors have such names.
        is_of_images = _REGION_HEADS.isdisjoint(name.split('.'))
    if is_of_images and not _is_one_of_several(name, model):
        return ''
    return 'the class scores are those of regions, queries or several levels, which do not correspond one to one'


def _is_one_of_several(name: str, model: nn.Module) -> bool:
    """Return whether a head has a list of such layers, for several levels or decoder layers.

    The heads of a cascade are no such list, nor are layers of which each reads the output of the previous one.
    """
    path, _, part = name.rpartition('.')
    suffix: list[str] = []
    while path:
        parent = model.get_submodule(path)
        if isinstance(parent, nn.ModuleList):
            layers = [_submodule(each, '.'.join(suffix)) for each in parent]
            sizes = [_layer_sizes(layer) for layer in layers if layer is not None]
            is_sequence = len(set(sizes)) > 1 and all(a[1] == b[0] for a, b in itertools.pairwise(sizes))
            return len(sizes) > 1 and not is_sequence and not hasattr(parent[int(part)], 'num_classes')
        suffix.insert(0, part)
        path, _, part = path.rpartition('.')
    return False


def _submodule(module: nn.Module, name: str) -> nn.Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def _layer_sizes(layer: nn.Module) -> tuple[int | None, int | None]:
    """Return the numbers of input and output channels of a convolution or linear layer."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return getattr(layer, 'in_channels', None), getattr(layer, 'out_channels', None)


@torch.no_grad()
def _output_shapes(layer: nn.Module, model: nn.Module, image: Tensor) -> list[tuple[int, ...]]:
    """Return the shapes of the outputs of a layer of the head, which the traced forward pass leaves out."""
    shapes: list[tuple[int, ...]] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    size = tuple(image.shape[2:])
    metainfo = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
    samples = [BaseDataElement(metainfo=metainfo) for _ in image]
    try:
        with evaluating(model):
            for arguments in ({}, dict(mode='predict'), dict(data_samples=samples, mode='predict')):
                # What a head has computed before an error counts.
                with contextlib.suppress(Exception):
                    model(image, **arguments)
                if shapes:
                    break
    finally:
        handle.remove()
    return shapes
