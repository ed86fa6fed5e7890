"""What the verb ``distill`` chooses for a student and a teacher: layers, losses and hooks, each with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel

from lckd_mm.errors import ConfigValueError, unknown_name
from lckd_mm.models.presets import PRESETS
from lckd_mm.models.utils import build_model, read_config

from .configs import load_config
from .tap_pairs import TapPairs, find_pairs

# The block of configs/_base_/distillers for the models of each package, and for all others.
_BLOCKS = {'mmdet': 'lckd_detection', 'mmseg': 'lckd_segmentation', 'mmpretrain': 'lckd_classification'}
_OTHER_BLOCK = 'lipschitz'
# Where a loss reads, the first possible place: PKD (arXiv 2207.02039) and CWD (arXiv 2011.13256) on the pyramid of a detector,
# CWD on the class scores of a segmentor. All others read the taps.
_PLACES = {'pkd': ('pyramid', 'taps'), 'cwd': ('scores', 'pyramid', 'taps')}
# MMRazor's configs/distill/mmdet/cwd; the preset has the weight of segmentors.
_PYRAMID_OPTIONS = dict(cwd=dict(loss_weight=10.0))
# LCKD compares norms and RKD distances between images; all others compare positions with positions.
_ANY_TAPS = ('lipschitz', 'rkd')
# These resize the student's maps.
_ANY_SIZE = ('pkd', 'cwd')
# OFD needs the BN before a map, MGD generates maps by convolutions.
_NO_TOKENS = ('ofd', 'mgd')
_LIPSCHITZ_HOOKS = ('lipschitz_monitor', 'lipschitz_balance')

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        student: Config of the student: a path, or a config of an installed package.
        teacher: Config of the teacher.
        checkpoint: The teacher's checkpoint.
        losses: Names of the losses; None for those of the block.
        taps: ``'LAYER'``, or ``'STUDENT_LAYER=TEACHER_LAYER'``, from first to last; None for those that are found.
        student_options: Overrides of the student's config by dotted key.
        teacher_options: Overrides of the teacher's config by dotted key; only ``model.`` is read.
    """

    student: str
    teacher: str
    checkpoint: str
    losses: tuple[str, ...] | None = None
    taps: tuple[str, ...] | None = None
    student_options: Options = field(default_factory=dict)
    teacher_options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What was chosen.

    Attributes:
        request: What was asked for.
        student_cfg: The student's config with its overrides.
        block: Name of the inherited block in ``configs/_base_/distillers``.
        student_taps: Entries for ``student_taps`` of the distiller.
        teacher_taps: Entries for ``teacher_taps``.
        found: The pairs of taps; None if the user named the layers.
        losses: Changes to the losses of the block by name: options, or None for a loss that is removed.
        hooks: Changes to the hooks of the block: None for a hook that is removed.
        is_balanced: Whether a hook adapts the weight of the Lipschitz loss.
        notes: One sentence for each choice.
    """

    request: Request
    student_cfg: Config
    block: str
    student_taps: list[Any]
    teacher_taps: list[Any]
    found: TapPairs | None
    losses: dict[str, dict[str, Any] | None]
    hooks: dict[str, None]
    is_balanced: bool
    notes: list[str]


def make_plan(request: Request) -> tuple[Plan, BaseModel, BaseModel]:
    """Choose layers, losses and hooks for a student and a teacher. Nothing is downloaded or trained.

    Args:
        request (Request): What the user asks for.

    Returns:
        tuple[Plan, BaseModel, BaseModel]: The plan, the student and the teacher with random weights.

    Raises:
        ConfigValueError: A config is that of a distillation, a requested loss is unknown or impossible for these models, or no layers are
            found.
        ConfigFileNotFoundError: There is no such config.
    """
    student_cfg = _load_plain(request.student, request.student_options, 'student')
    _load_plain(request.teacher, request.teacher_options, 'teacher')
    student = build_model(model_source(request.student, request.student_options))
    teacher = build_model(model_source(request.teacher, request.teacher_options))
    block = next((_BLOCKS[name] for name in _packages(student) if name in _BLOCKS), _OTHER_BLOCK)
    defaults = read_config(f'lckd_mm::_base_/distillers/{block}.py')
    found = _find_pairs(student, teacher, request.taps)
    student_taps, teacher_taps = _taps(request.taps, found)
    for model, role, taps in ((student, 'student', student_taps), (teacher, 'teacher', teacher_taps)):
        _check_names(model, role, taps)
    losses, notes = choose_losses(request.losses, defaults.distillation.distiller.losses, found, request.taps is None)
    kept = {name for name in (*defaults.distillation.distiller.losses, *losses) if losses.get(name, {}) is not None}
    if not kept:
        raise ConfigValueError(f'no loss is possible for this pair of models: {" ".join(notes)}')
    hooks = dict.fromkeys(
        name for name in _LIPSCHITZ_HOOKS if name in defaults.distillation_hooks and 'lipschitz' not in kept
    )
    plan = Plan(
        request=request,
        student_cfg=student_cfg,
        block=block,
        student_taps=student_taps,
        teacher_taps=teacher_taps,
        found=None if request.taps else found,
        losses=losses,
        hooks=hooks,
        is_balanced='lipschitz_balance' in defaults.distillation_hooks,
        notes=notes,
    )
    return plan, student, teacher


def model_source(path: str, options: Options) -> dict[str, Any]:
    """Return the model of a config with overrides, as ``architecture`` and ``teacher`` of a distillation take it.

    Args:
        path (str): The config.
        options (dict): Overrides of the config by dotted key; those of the model begin with ``'model.'``.

    Returns:
        dict: ``cfg_path`` and, if the model is changed, ``cfg_options``.

    Example:
        >>> model_source('a.py', {'model.head.num_classes': 3, 'train_cfg.max_epochs': 2})
        {'cfg_path': 'a.py', 'cfg_options': {'head.num_classes': 3}}
    """
    changed = {key.removeprefix('model.'): value for key, value in options.items() if key.startswith('model.')}
    return dict(cfg_path=path, **({'cfg_options': changed} if changed else {}))


def _load_plain(path: str, options: Options, role: str) -> Config:
    cfg = load_config(path, options)
    model = cfg.get('model')
    if not isinstance(model, dict):
        raise ConfigValueError(f'the {role} config {path!r} defines no `model`: name a config that does.')
    if 'distiller' in model:
        raise ConfigValueError(
            f'the {role} config {path!r} is that of a distillation: give the plain config of the model; a checkpoint of the distillation '
            'fits it.'
        )
    return cfg


def _packages(model: BaseModel) -> list[str]:
    return [cls.__module__.partition('.')[0] for cls in type(model).__mro__]


def _find_pairs(student: BaseModel, teacher: BaseModel, names: Sequence[str] | None) -> TapPairs:
    try:
        return find_pairs(student, teacher)
    except ConfigValueError as error:
        if names is None:
            raise
        # The user names the layers, so that only losses on other layers need them to be found.
        return TapPairs([], [], False, None, None, logits_obstacle=f'no layers were found ({error})')


def _taps(names: Sequence[str] | None, found: TapPairs) -> tuple[list[Any], list[Any]]:
    if names is None:
        return [student.config for student, _ in found.pairs], [teacher.config for _, teacher in found.pairs]
    sides = [name.partition('=')[::2] for name in names]
    return [student for student, _ in sides], [teacher or student for student, teacher in sides]


def _check_names(model: BaseModel, role: str, taps: Sequence[Any]) -> None:
    names = [name for name, _ in model.named_modules()]
    for tap in taps:
        if isinstance(tap, str) and tap not in names:
            raise ConfigValueError(unknown_name(f'--taps: the layer of the {role}', tap, names))


def choose_losses(
    names: Sequence[str] | None, defaults: Mapping[str, Options], found: TapPairs, is_found: bool = True
) -> tuple[dict[str, dict[str, Any] | None], list[str]]:
    """Choose losses, and where they read.

    Args:
        names (Sequence[str], optional): The losses that the user asks for; None for those of the block.
        defaults (dict): The losses of the block with their options.
        found (TapPairs): The layers that were found.
        is_found (bool): Whether the taps are those of ``found``, and not named by the user. Defaults to True.

    Returns:
        tuple: The changes to the losses of the block, and a sentence for each that is removed.

    Raises:
        ConfigValueError: A requested loss is unknown, or impossible.

    Example:
        >>> found = TapPairs([], [], True, ('neck', (8, 16)), None)
        >>> choose_losses(None, dict(lipschitz={}, kd={}), found)
        ({'kd': None}, ["The loss 'kd' is left out: the models have no class scores that correspond."])
        >>> choose_losses(['lipschitz', 'pkd'], dict(lipschitz={}, kd={}), found)
        ({'kd': None, 'pkd': {'taps': ['neck']}}, [])
    """
    changes: dict[str, dict[str, Any] | None] = {}
    notes: list[str] = []
    for name in names or ():
        if name not in PRESETS:
            raise ConfigValueError(unknown_name('--losses: the method', name, sorted(PRESETS)))
    for name, options in defaults.items():
        kind = options.get('type', name)
        places = ('scores',) if options.get('taps') == 'logits' else _places(kind)
        reasons = [_obstacle(kind, place, found, is_found) for place in places]
        if names is not None and name not in names:
            changes[name] = None
        elif all(reasons):
            if names is not None:
                raise ConfigValueError(f'--losses {name} is impossible: {_joined(reasons)}; name other losses.')
            changes[name] = None
            notes.append(f'The loss {name!r} is left out: {_joined(reasons)}.')
    for name in dict.fromkeys(names or ()):
        if name not in defaults:
            changes[name] = _place(name, found, is_found)
    return changes, notes


def _places(kind: str) -> tuple[str, ...]:
    preset = PRESETS.get(kind)
    return ('scores',) if preset is not None and preset.reads == 'logits' else _PLACES.get(kind, ('taps',))


def _place(kind: str, found: TapPairs, is_found: bool) -> dict[str, Any]:
    """Return the options of a loss that name where it reads."""
    reasons = []
    for place in _places(kind):
        reason = _obstacle(kind, place, found, is_found)
        if reason is None:
            if place == 'pyramid' and found.pyramid is not None:
                return dict(taps=[found.pyramid[0]], **_PYRAMID_OPTIONS.get(kind, {}))
            return dict(taps='logits') if place == 'scores' and PRESETS[kind].reads == 'taps' else {}
        reasons.append(reason)
    raise ConfigValueError(f'--losses {kind} is impossible: {_joined(reasons)}; name other losses.')


def _joined(reasons: Sequence[str | None]) -> str:
    return ', and '.join(filter(None, reasons))


def _obstacle(kind: str, place: str, found: TapPairs, is_found: bool) -> str | None:
    """Return why a loss cannot read at a place; None if it can."""
    if place == 'scores':
        if found.logits is None:
            return found.logits_obstacle or 'the models have no class scores that correspond'
        if kind == 'dkd' and found.has_score_maps:
            return 'the class scores are maps, whose labels dkd does not read'
        reads_maps = kind in PRESETS and PRESETS[kind].reads == 'taps'
        return 'the class scores are no maps' if reads_maps and not found.has_score_maps else None
    if place == 'pyramid':
        return None if found.pyramid is not None else 'the models have no feature pyramids of equal strides'
    if not is_found or kind in _ANY_TAPS:
        return None
    with_tokens = [pair for pair in found.pairs if any(len(tap.shape) == 3 for tap in pair)]
    if with_tokens and kind in _NO_TOKENS:
        return 'the taps are tokens, and it compares maps'
    if any(student.num_positions != teacher.num_positions for student, teacher in with_tokens):
        return 'the taps of student and teacher have different numbers of tokens'
    if kind in _ANY_SIZE or not found.in_order:
        return None
    return 'the taps of student and teacher have different strides, and it compares maps of equal size'
