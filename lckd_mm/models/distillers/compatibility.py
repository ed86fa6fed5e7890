"""Checks that the taps of student and teacher fit each other, on their records of the same images."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from lckd_mm.errors import ConfigError, ConfigValueError
from lckd_mm.spectral import Grid, UnknownGridError, num_channels, pair_feature_maps

from ..interfaces import accepts_valid_ratios
from .mappings import is_sequence, recorder_names
from .network_taps import NetworkTaps
from .token_grids import Size

ChannelPairs = dict[tuple[str, str], tuple[int, int]]
"""Channel counts of student and teacher, by the name of the student's recorder and the key of the map."""


def read_record_maps(taps: NetworkTaps, record: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Return the recorder name, the key and the map of all maps of a record."""
    indices = {key: record[key] for key in ('record_idx', 'data_idx') if key in record}
    return [
        (name, key, feature)
        for name in recorder_names(record)
        for maps in [taps.read_maps(name, **indices)]
        for key, feature in zip(taps.map_keys(name, len(maps), **indices), maps)
    ]


def read_record_grids(
    taps: NetworkTaps, record: Mapping[str, Any], image_size: Size | None
) -> list[tuple[str, Grid | None]]:
    """Return the recorder name and the grid of all maps of a record; arguments as in :meth:`NetworkTaps.grids`."""
    indices = {key: record[key] for key in ('record_idx', 'data_idx') if key in record}
    return [(name, grid) for name in recorder_names(record) for grid in taps.grids(image_size, name, **indices)]


def _unknown_grid_error(
    taps: NetworkTaps, unknown: Sequence[str], image_size: Size | None, error: Exception
) -> ConfigValueError:
    sources = list(dict.fromkeys(taps.source(name) for name in unknown))
    pixels = 'the size of the images' if image_size is None else f'images of {image_size[0]} x {image_size[1]} pixels'
    reason = str(error).partition(', but ')[0]
    given = next((taps.taps[name].grid for name in unknown if name in taps.taps and taps.taps[name].grid), None)
    fix = (
        f'give them, dict(source={sources[0]!r}, grid=(h, w)) for h * w tokens or (h, w, 1) for a further class token'
        if given is None
        else f'correct grid={given}, which has another number of tokens, or set `probe_size` to the size of the images that it belongs to'
    )
    return ConfigValueError(
        f"the {taps.role}'s taps {sources} cannot be paired: {reason}, but height and width of the tokens do not follow from {pixels}; "
        f'{fix}, or tap maps of the same size.'
    )


def check_feature_maps(taps: NetworkTaps, record: Mapping[str, Any]) -> None:
    """Check that all maps of a record are feature maps.

    Raises:
        ConfigValueError: One is not; names the tap and its shape.
    """
    for name, _, feature in read_record_maps(taps, record):
        source = taps.source(name)
        if isinstance(feature, (tuple, list)):
            raise ConfigValueError(
                f"the {taps.role}'s tap {source!r} yields a {type(feature).__name__} of {len(feature)} objects, not all of them "
                f'feature maps: select one, dict(source={source!r}, data_idx=0).'
            )
        if not isinstance(feature, Tensor) or feature.dim() not in (3, 4):
            what = f'shape {tuple(feature.shape)}' if isinstance(feature, Tensor) else type(feature).__name__
            raise ConfigValueError(
                f"the {taps.role}'s tap {source!r} yields no feature map but {what}: tap a layer whose output is (B, C, H, W), "
                'or (B, N, C) for tokens.'
            )


def check_repeated_taps(taps: NetworkTaps, record: Mapping[str, Any]) -> None:
    """Check that no two consecutive taps of a record are the same layer.

    Raises:
        ConfigValueError: Two are; names the layer.
    """
    for first, second in pairwise(recorder_names(record)):
        tap, following = taps.taps.get(first), taps.taps.get(second)
        if first == second or (tap is not None and following is not None and tap.is_same_layer(following)):
            raise ConfigValueError(
                f"the {taps.role}'s tap {taps.source(first)!r} is named twice in succession: name it once, or select different outputs of "
                f'it, dict(source={taps.source(first)!r}, data_idx=0) and data_idx=1.'
            )


def check_consecutive_pairs(taps: NetworkTaps, record: Mapping[str, Any], image_size: Size | None) -> None:
    """Check that each map of a record and the next one have a common grid.

    Raises:
        ConfigValueError: Two have none; names both taps.
    """
    maps = zip(read_record_maps(taps, record), read_record_grids(taps, record, image_size))
    for ((first, _, x), (_, grid_x)), ((second, _, y), (_, grid_y)) in pairwise(maps):
        try:
            pair_feature_maps(x, y, (grid_x, grid_y))
        except UnknownGridError as error:
            pair = (first, x, grid_x), (second, y, grid_y)
            unknown = [name for name, feature, grid in pair if feature.dim() == 3 and grid is None]
            raise _unknown_grid_error(taps, unknown, image_size, error) from error
        except (TypeError, ValueError) as error:
            raise ConfigValueError(
                f"the {taps.role}'s taps {taps.source(first)!r} and {taps.source(second)!r} cannot be paired: {error}"
            ) from error


def match_channels(
    loss_name: str,
    student: NetworkTaps,
    student_record: Mapping[str, Any],
    teacher: NetworkTaps,
    teacher_record: Mapping[str, Any],
    known: ChannelPairs,
) -> None:
    """Add the channel counts of the maps that a loss compares to ``known``.

    Raises:
        ConfigValueError: Student and teacher have different numbers of maps, or a tap is compared with maps of two channel counts.
    """
    students, teachers = read_record_maps(student, student_record), read_record_maps(teacher, teacher_record)
    if len(students) != len(teachers):
        raise ConfigValueError(
            f"loss {loss_name!r} compares {len(students)} maps of the student's taps with {len(teachers)} of the teacher's: name as many "
            'in both networks.'
        )
    for (name, key, student_map), (_, _, teacher_map) in zip(students, teachers):
        if name not in student.taps and not is_sequence(student_record):
            continue
        if not all(isinstance(feature, Tensor) and feature.dim() in (3, 4) for feature in (student_map, teacher_map)):
            continue
        pair = (num_channels(student_map), num_channels(teacher_map))
        if known.setdefault((name, key), pair) != pair:
            raise ConfigValueError(
                f"the student's tap {student.source(name)!r} has one adapter, but is compared with maps of {known[name, key][1]} and of "
                f'{pair[1]} channels: compare it with maps of one channel count, or set `adapters=False`.'
            )


def adapted_names(mapping: Mapping[str, dict], student: NetworkTaps) -> list[str]:
    """Return the recorder names of the student's taps that a loss compares with the teacher's, and that may have adapters."""
    records: dict[bool, list[dict]] = {True: [], False: []}
    for record in mapping.values():
        records[record['from_student']].append(record)
    if not len(records[True]) == len(records[False]) == 1 or not records[True][0].get('adapt', True):
        return []
    record = records[True][0]
    return [name for name in recorder_names(record) if name in student.taps or is_sequence(record)]


def match_networks(
    mappings: Mapping[str, Mapping[str, dict]],
    connectors: Mapping[str, nn.Module],
    student: NetworkTaps,
    teacher: NetworkTaps,
    image_size: Size | None,
) -> ChannelPairs:
    """Check the records of both networks against each other.

    Args:
        mappings (Mapping[str, Mapping[str, dict]]): The ``loss_forward_mappings``.
        connectors (Mapping[str, nn.Module]): The connectors by name.
        student (NetworkTaps): The student's taps.
        teacher (NetworkTaps): The teacher's taps.
        image_size (tuple[int, int], optional): Height and width of the recorded images in pixels; None if they are unknown.

    Returns:
        ChannelPairs: The channel counts of all maps that are compared and may be adapted.

    Raises:
        ConfigValueError: A tap is repeated or yields no feature map, two consecutive taps cannot be paired, or the networks do not match.
    """
    channels: ChannelPairs = {}
    for loss_name, mapping in mappings.items():
        records: dict[bool, list[dict]] = {True: [], False: []}
        for record in mapping.values():
            records[record['from_student']].append(record)
            taps = student if record['from_student'] else teacher
            if is_sequence(record):
                check_repeated_taps(taps, record)
                check_feature_maps(taps, record)
                if record.get('connector') and accepts_valid_ratios(connectors[record['connector']]):
                    check_consecutive_pairs(taps, record, image_size)
        if len(records[True]) == len(records[False]) == 1:
            known = channels if records[True][0].get('adapt', True) else {}
            match_channels(loss_name, student, records[True][0], teacher, records[False][0], known)
    return channels


def loss_error(loss_name: str, records: Mapping[str, Any], error: Exception) -> ConfigValueError:
    """Return the error for a loss that cannot be computed from its records."""
    shapes = {argument: _shapes(data) for argument, data in records.items()}
    # The assertions of MMRazor's losses have no text. Errors of lckd_mm name the fix.
    reason = f': {error}' if str(error) else ''
    fix = '; tap both networks at the same stride, and use `adapters` where their channels differ.'
    is_complete = isinstance(error, ConfigError)
    return ConfigValueError(
        f'loss {loss_name!r} cannot be computed from its taps, {shapes}{reason}{"" if is_complete else fix}'
    )


def _shapes(data: Any) -> Any:
    return [tuple(item.shape) for item in data] if isinstance(data, (tuple, list)) else tuple(data.shape)
