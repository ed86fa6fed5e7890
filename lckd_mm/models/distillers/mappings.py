"""Functions on ``loss_forward_mappings``: which records each argument of each loss reads."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import Any

from torch import nn

from lckd_mm.errors import ConfigValueError, unknown_name

ALL_TAPS = 'taps'
"""As the ``recorder`` of a record, this name stands for the list of all taps."""


def recorder_names(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the recorders that a record reads."""
    names = record['recorder']
    return list(names) if is_sequence(record) else [names]


def is_sequence(record: Mapping[str, Any]) -> bool:
    """Return whether a record is a tuple of maps rather than the data of one recorder."""
    return isinstance(record['recorder'], (list, tuple))


def records_of(mappings: Mapping[str, Mapping[str, dict]], from_student: bool) -> Iterator[tuple[str, dict]]:
    """Yield each pair of recorder name and record that the losses read from one network."""
    for mapping in mappings.values():
        for record in mapping.values():
            if record['from_student'] is from_student:
                for name in recorder_names(record):
                    yield name, record


def replace_all_taps(mappings: Mapping[str, Any] | None, tap_names: list[str]) -> dict[str, Any]:
    """Replace ``recorder='taps'`` by the list of all taps.

    Raises:
        ConfigValueError: There are no taps.
    """
    mappings = copy.deepcopy(dict(mappings or {}))
    for loss_name, mapping in mappings.items():
        for record in mapping.values() if isinstance(mapping, dict) else ():
            if isinstance(record, dict) and record.get('recorder') == ALL_TAPS:
                if not tap_names:
                    raise ConfigValueError(
                        f"loss_forward_mappings.{loss_name} has recorder='{ALL_TAPS}', but no taps are given: name the layers in `taps`."
                    )
                record['recorder'] = list(tap_names)
    return mappings


def check_mappings(
    mappings: Mapping[str, Mapping[str, dict]],
    losses: Mapping[str, nn.Module] | nn.ModuleDict,
    connectors: Iterable[str],
    student_recorders: Iterable[str],
    teacher_recorders: Iterable[str],
) -> None:
    """Check all names in ``loss_forward_mappings``.

    Raises:
        ConfigValueError: Unknown loss, argument, recorder or connector, or an argument of a loss without a record.
    """
    connectors, recorders = list(connectors), {True: list(student_recorders), False: list(teacher_recorders)}
    for loss_name, mapping in mappings.items():
        if loss_name not in losses:
            raise ConfigValueError(unknown_name('loss_forward_mappings: loss', loss_name, losses))
        parameters = signature(losses[loss_name].forward).parameters
        for argument, record in mapping.items():
            place = f'loss_forward_mappings.{loss_name}.{argument}'
            if argument not in parameters:
                raise ConfigValueError(unknown_name(f'{place}: argument', argument, parameters))
            _check_record(place, record, connectors, recorders)
        missing = [name for name, p in parameters.items() if p.default is p.empty and name not in mapping]
        if missing:
            raise ConfigValueError(
                f'loss_forward_mappings.{loss_name} has no record for {missing}, which {type(losses[loss_name]).__name__} requires: add '
                f'{missing[0]}=dict(from_student=..., recorder=...).'
            )


def _check_record(place: str, record: dict, connectors: list[str], recorders: dict[bool, list[str]]) -> None:
    if not isinstance(record.get('from_student'), bool) or 'recorder' not in record:
        raise ConfigValueError(f'{place} is {dict(record)}, but needs a `recorder` and `from_student=True` or False.')
    for name in recorder_names(record):
        if name not in recorders[record['from_student']]:
            role = 'student' if record['from_student'] else 'teacher'
            raise ConfigValueError(
                unknown_name(f"{place}: the {role}'s recorder", name, recorders[record['from_student']])
            )
    if record.get('connector') and record['connector'] not in connectors:
        raise ConfigValueError(unknown_name(f'{place}: connector', record['connector'], connectors))
