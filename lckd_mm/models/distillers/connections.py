"""The arguments of a loss: the records of a batch, behind their connectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from lckd_mm.spectral import UnknownGridError

from ..interfaces import accepts_grids, accepts_valid_ratios, joins_networks
from .compatibility import check_consecutive_pairs, read_record_grids
from .network_taps import NetworkTaps
from .token_grids import Size

if TYPE_CHECKING:
    from .lipschitz_distiller import LipschitzDistiller


class Record(NamedTuple):
    """A record of a batch, before its connector.

    Attributes:
        data: A map, or a tuple of maps.
        taps: The taps of its network.
        mapping: The entry of the mapping that names it.
    """

    data: Any
    taps: NetworkTaps
    mapping: Mapping[str, Any]


def connect(connector: Any, record: Record, valid_ratios: Tensor | None, image_size: Size | None) -> Any:
    """Pass a record through a connector, with what it accepts of the geometry of the batch.

    Args:
        connector (Module): The connector.
        record (Record): The record.
        valid_ratios (Tensor, optional): Shares of height and width that each image fills, (B, 2); None means no padding.
        image_size (tuple[int, int], optional): Height and width of the images; None if they are unknown.

    Returns:
        Any: The output of the connector.

    Raises:
        ConfigValueError: The connector has to pool tokens whose grid is not determined; names the tap.
    """
    options: dict[str, Any] = dict(valid_ratios=valid_ratios) if accepts_valid_ratios(connector) else {}
    if not accepts_grids(connector):
        return connector(record.data, **options)
    try:
        return connector(record.data, grids=_grids(record, image_size), **options)
    except UnknownGridError:
        _name_unknown_grid([record], image_size)
        raise


def _connect_networks(
    connector: Any, records: Sequence[Record], valid_ratios: Tensor | None, image_size: Size | None
) -> list[Any]:
    """Pass the records of several networks through a connector at a time; arguments and errors as in :func:`connect`."""
    grids = [_grids(record, image_size) for record in records]
    try:
        return connector.forward_networks([record.data for record in records], valid_ratios=valid_ratios, grids=grids)
    except UnknownGridError:
        _name_unknown_grid(records, image_size)
        raise


def _grids(record: Record, image_size: Size | None) -> list[Any]:
    return [grid for _, grid in read_record_grids(record.taps, record.mapping, image_size)]


def _name_unknown_grid(records: Sequence[Record], image_size: Size | None) -> None:
    """Raise the error of an unknown grid with the names of the taps."""
    for record in records:
        check_consecutive_pairs(record.taps, record.mapping, image_size)


def read_arguments(
    distiller: LipschitzDistiller,
    mapping: Mapping[str, Mapping[str, Any]],
    valid_ratios: Tensor | None,
    image_size: Size | None,
) -> dict[str, Any]:
    """Read the arguments of a loss. A connector that joins networks receives all its records of the loss at a time.

    Args:
        distiller (LipschitzDistiller): The distiller, whose taps have the records of a batch.
        mapping (Mapping): The record of each argument.
        valid_ratios (Tensor, optional): As in :func:`connect`.
        image_size (tuple[int, int], optional): As in :func:`connect`.

    Returns:
        dict[str, Any]: The arguments, in the order of the mapping.
    """
    joined: dict[str, dict[str, Record]] = {}
    arguments: dict[str, Any] = {}
    for name, record in mapping.items():
        connector = record.get('connector')
        if connector and record.get('connector_idx') is None and joins_networks(distiller.connectors[connector]):
            data = distiller.get_record(**{**record, 'connector': None})
            joined.setdefault(connector, {})[name] = Record(
                data, distiller.network_taps[record['from_student']], record
            )
        else:
            arguments[name] = distiller.get_record(**record, valid_ratios=valid_ratios, image_size=image_size)
    for connector, records in joined.items():
        outputs = _connect_networks(distiller.connectors[connector], list(records.values()), valid_ratios, image_size)
        arguments |= dict(zip(records, outputs))
    return {name: arguments[name] for name in mapping}
