"""Expansion of ``losses`` of a :class:`LipschitzDistiller` into MMRazor's recorders, connectors, losses and mappings."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lckd_mm.errors import ConfigTypeError, ConfigValueError, unknown_name

from .registry import PRESETS, Config, Expansion

_TAP_KEYS = ('taps', 'student_taps', 'teacher_taps')
_PARTS = ('student_recorders', 'teacher_recorders', 'connectors', 'distill_losses', 'loss_forward_mappings')


@dataclass(frozen=True)
class LossEntry:
    """One entry of ``losses``.

    Attributes:
        name (str): Name of the loss: ``'loss_lipschitz'``.
        type (str): Name of the preset.
        taps (dict): ``taps``, ``student_taps`` and ``teacher_taps``, as far as they are configured.
        options (dict): Options of the preset.
    """

    name: str
    type: str
    taps: Config
    options: Config


def expand_distiller(config: Mapping[str, Any]) -> Config:
    """Replace ``losses`` in the config of a distiller by MMRazor's recorders, connectors, losses and mappings.

    An entry of ``losses`` is the name of a method or a dict with its ``type``, options, ``name`` and, if they differ from the common
    ones, ``taps`` (or ``student_taps`` and ``teacher_taps``). ``taps='logits'`` lets a method on feature maps read the class scores, which
    are the maps of a segmentor. ``losses`` may also be a dict: a key is the name of an entry and the
    default of its ``type``, and None removes an entry, so that a child config changes one entry without repeating the others.

    Args:
        config (Mapping[str, Any]): Arguments of a :class:`LipschitzDistiller`.

    Returns:
        dict: The arguments with ``connectors``, ``distill_losses``, ``loss_forward_mappings`` and recorders in place of ``losses``. The
        name of a loss is ``loss_<type>``, or ``loss_<name>``. Taps of single entries are appended to the common taps.

    Raises:
        ConfigValueError: Unknown method or option, two entries of one name, or an entry without taps.
        ConfigTypeError: ``losses`` is neither a sequence nor a dict.

    Example:
        >>> expanded = expand_distiller(dict(taps=['backbone.layer1', 'backbone.layer2'], losses=['lipschitz']))
        >>> expanded['distill_losses']['loss_lipschitz']['distance']
        'log'
        >>> expanded['loss_forward_mappings']['loss_lipschitz']['teacher']['recorder']
        ['tap0', 'tap1']
        >>> scores = expand_distiller(dict(losses=[dict(type='cwd', taps='logits')]))
        >>> scores['student_recorders'], scores['loss_forward_mappings']['loss_cwd']['student']['recorder']
        ({'logits': {'type': 'Logits', 'source': ''}}, ['logits'])
    """
    expanded = {key: copy.deepcopy(value) for key, value in config.items() if key != 'losses'}
    if config.get('losses') is None:
        return expanded
    entries = parse_losses(config['losses'])
    taps = _TapLists(expanded)
    for part in _PARTS:
        expanded[part] = dict(expanded.get(part) or {})
    # Mappings written out beside `losses` mean the common taps, to which entries append theirs.
    for mapping in expanded['loss_forward_mappings'].values():
        for record in mapping.values():
            if record.get('recorder') == 'taps':
                record['recorder'] = [f'tap{i}' for i in range(taps.num_common)]
            taps.is_used |= 'tap' in str(record.get('recorder'))
    for entry in entries:
        _add(expanded, entry, taps)
    expanded.update(taps.config())
    return {key: value for key, value in expanded.items() if value is not None and (value or key not in _PARTS)}


def parse_losses(losses: Sequence[str | Mapping[str, Any]] | Mapping[str, Mapping[str, Any] | None]) -> list[LossEntry]:
    """Parse ``losses``; arguments and errors as in :func:`expand_distiller`."""
    if isinstance(losses, Mapping):
        _check_entries(losses.values(), optional=True)
        pairs = [({'name': key, 'type': key, **value}) for key, value in losses.items() if value is not None]
    elif isinstance(losses, Sequence) and not isinstance(losses, str):
        _check_entries(losses)
        pairs = [{'type': entry} if isinstance(entry, str) else dict(entry) for entry in losses]
    else:
        raise ConfigTypeError(
            f"losses={losses!r} is a {type(losses).__name__}: give a list such as ['lipschitz'], or a dict such as dict(lipschitz=dict())."
        )
    entries: dict[str, LossEntry] = {}
    for options in pairs:
        entry = _parse_entry(options)
        if entry.name in entries:
            raise ConfigValueError(
                f"losses has two entries named {entry.name!r}: give one of them a name, dict(type={entry.type!r}, name='...')."
            )
        entries[entry.name] = entry
    return list(entries.values())


def _check_entries(entries: Iterable[Any], optional: bool = False) -> None:
    """Check the types of the entries of ``losses``: names and dicts in a list, dicts and None in a dict."""
    valid = (Mapping, type(None)) if optional else (str, Mapping)
    for entry in entries:
        if not isinstance(entry, valid):
            form = 'dict(loss_weight=1.0), dict() or None' if optional else "a name such as 'lipschitz', or a dict"
            raise ConfigTypeError(f'the entry {entry!r} of losses is a {type(entry).__name__}: give {form}.')


def _parse_entry(options: Config) -> LossEntry:
    options = {key: value for key, value in options.items() if key != '_scope_'}
    kind = options.pop('type', None)
    if not isinstance(kind, str) or kind not in PRESETS:
        raise ConfigValueError(unknown_name('losses: the method', kind, sorted(PRESETS)))
    name = str(options.pop('name', None) or kind)
    taps = {key: options.pop(key) for key in _TAP_KEYS if options.get(key) is not None}
    for option in options:
        if option not in PRESETS[kind].options:
            valid = [*PRESETS[kind].options, 'name', *_TAP_KEYS]
            raise ConfigValueError(unknown_name(f'losses: the option of {kind!r}', option, valid))
        PRESETS[kind].check_option(kind, option, options[option])
    for key, value in taps.items():
        if value != 'logits':
            check_tap_list(f'losses: {kind}: {key}', value)
    # mmengine adds up only those values whose name contains 'loss'.
    return LossEntry(name if name.startswith('loss_') else f'loss_{name}', kind, taps, options)


def check_tap_list(option: str, taps: Any) -> None:
    """Check that the taps of a network are a list.

    Args:
        option (str): What they are, for the message.
        taps (Any): A value of ``taps``, ``student_taps`` or ``teacher_taps``; None is valid.

    Raises:
        ConfigTypeError: They are no list.

    Example:
        >>> check_tap_list('taps', 'backbone.layer1')
        Traceback (most recent call last):
        ...
        lckd_mm.errors.ConfigTypeError: taps='backbone.layer1' is a str: give a list of layers, ['backbone.layer1'].
    """
    if taps is not None and not isinstance(taps, (list, tuple)):
        example = [taps] if isinstance(taps, (str, dict)) else ['backbone.layer1', 'backbone.layer2']
        raise ConfigTypeError(f'{option}={taps!r} is a {type(taps).__name__}: give a list of layers, {example}.')


class _TapLists:
    """The taps of both networks, to which entries append their own."""

    def __init__(self, config: Config) -> None:
        for option in _TAP_KEYS:
            check_tap_list(option, config.get(option))
        common = config.pop('taps', None)
        student, teacher = config.pop('student_taps', None), config.pop('teacher_taps', None)
        self.student = list(common or ()) if student is None else list(student)
        self.teacher = list(common or ()) if teacher is None else list(teacher)
        self.adapters = config.pop('adapters', 'auto')
        self.num_common = len(self.student)
        self.is_used = False

    def names(self, entry: LossEntry) -> list[str]:
        """Return the recorder names of an entry's taps."""
        self.is_used = True
        if not entry.taps:
            if not self.student:
                raise ConfigValueError(
                    f'the loss {entry.name!r} has no taps: name the layers in `taps` of the distiller, or of this entry.'
                )
            return [f'tap{i}' for i in range(self.num_common)]
        common = entry.taps.get('taps')
        student, teacher = (entry.taps.get(f'{side}_taps', common) for side in ('student', 'teacher'))
        if (
            not isinstance(student, (list, tuple))
            or not isinstance(teacher, (list, tuple))
            or len(student) != len(teacher)
        ):
            raise ConfigValueError(
                f'the taps of the loss {entry.name!r} are {student} for the student and {teacher} for the teacher: give two lists of '
                'the same length.'
            )
        return [f'tap{self._index(s, t)}' for s, t in zip(student, teacher)]

    def _index(self, student: Any, teacher: Any) -> int:
        pairs = list(zip(self.student, self.teacher))
        if (student, teacher) in pairs:
            return pairs.index((student, teacher))
        self.student.append(student)
        self.teacher.append(teacher)
        return len(pairs)

    def config(self) -> Config:
        """Return the options of the distiller for all taps; none if no loss reads them."""
        if not self.is_used:
            return dict(adapters=self.adapters if isinstance(self.adapters, (bool, str)) else 'auto')
        added = len(self.student) - self.num_common
        adapters = self.adapters
        if isinstance(adapters, (list, tuple)):
            adapters = [*adapters, *['auto'] * added]
        if self.student == self.teacher:
            return dict(taps=self.student, adapters=adapters)
        return dict(student_taps=self.student, teacher_taps=self.teacher, adapters=adapters)


def _add(expanded: Config, entry: LossEntry, taps: _TapLists) -> None:
    preset = PRESETS[entry.type]
    expansion: Expansion = preset.expand(**entry.options)
    recorders: dict[str, Any] = {suffix: f'{entry.name}_{suffix}' for suffix in expansion.student_recorders}
    if preset.reads == 'taps' and entry.taps == dict(taps='logits'):
        recorders['taps'] = [_add_logits(expanded, replace(entry, taps={}))]
    elif preset.reads == 'taps':
        recorders['taps'] = taps.names(entry)
    else:
        recorders['logits'] = _add_logits(expanded, entry)
    for suffix, recorder in expansion.student_recorders.items():
        expanded['student_recorders'][recorders[suffix]] = recorder
    for suffix, connector in expansion.connectors.items():
        expanded['connectors'][f'{entry.name}_{suffix}'] = connector
    for suffix, loss in expansion.losses.items():
        name = f'{entry.name}_{suffix}' if suffix else entry.name
        if name in expanded['distill_losses']:
            raise ConfigValueError(f'losses and distill_losses both define {name!r}: rename one of them.')
        expanded['distill_losses'][name] = loss
        expanded['loss_forward_mappings'][name] = {
            argument: _name_parts(record, entry.name, recorders)
            for argument, record in expansion.records[suffix].items()
        }


def _name_parts(record: Config, name: str, recorders: Mapping[str, Any]) -> Config:
    named = dict(record, recorder=copy.copy(recorders[record['recorder']]))
    if 'connector' in record:
        named['connector'] = f'{name}_{record["connector"]}'
    return named


def _add_logits(expanded: Config, entry: LossEntry) -> str:
    """Add the recorders of the class scores; without taps, they select their layer when the models are known."""
    common = entry.taps.get('taps')
    if not entry.taps:
        name, sources = 'logits', {'student': '', 'teacher': ''}
    else:
        name = f'{entry.name}_logits'
        lists = {side: entry.taps.get(f'{side}_taps', common) for side in ('student', 'teacher')}
        for side, value in lists.items():
            if not isinstance(value, (list, tuple)) or len(value) != 1 or not isinstance(value[0], str):
                raise ConfigValueError(
                    f'the taps of the loss {entry.name!r} are {value} for the {side}: name one layer with class scores, '
                    "['head.fc'] for example."
                )
        sources = {side: value[0] for side, value in lists.items() if value}
    for side, source in sources.items():
        expanded[f'{side}_recorders'][name] = dict(type='Logits', source=source)
    return name
