"""What a distiller checks and builds from the records of both networks: from a probe, or from the first batch of the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lckd_mm.errors import ConfigRuntimeError, ConfigValueError
from lckd_mm.spectral import num_channels

from ..interfaces import needs_channels, requires_annotations
from ..losses.decoupled_loss import different_classes
from .compatibility import adapted_names, loss_error, match_networks
from .mappings import recorder_names, records_of
from .network_taps import NetworkTaps
from .probe import evaluating
from .token_grids import Size

if TYPE_CHECKING:
    from .lipschitz_distiller import LipschitzDistiller

Mappings = Mapping[str, Mapping[str, dict]]


def check_probe_records(distiller: LipschitzDistiller, image_size: Size | None) -> list[str]:
    """Check the losses whose taps the probe has recorded, and build their adapters.

    Args:
        distiller (LipschitzDistiller): The distiller, whose taps have the records of a probe.
        image_size (tuple[int, int], optional): Height and width of the probe image in pixels.

    Returns:
        list[str]: Names of the losses that are not checked, because the probe has not recorded all of their taps.

    Raises:
        ConfigValueError: As :func:`match_networks`, a loss cannot be computed, or a loss that is not checked has adapters or connectors
            which need its channel counts.
    """
    mappings = distiller.loss_forward_mappings
    checked = {name: mapping for name, mapping in mappings.items() if not _missing(distiller, mapping)}
    unchecked = {name: mapping for name, mapping in mappings.items() if name not in checked}
    for name, mapping in unchecked.items():
        distiller.adapters.check_deferrable(adapted_names(mapping, distiller.network_taps[True]), name)
        for record in mapping.values():
            if record.get('connector') and needs_channels(distiller.connectors[record['connector']]):
                raise ConfigValueError(
                    f'the connector {record["connector"]!r} of the loss {name!r} is built for the channel counts of its taps, which are '
                    'unknown, since the probe did not record them: give the shape of the input of the models, '
                    'probe_inputs=(4, 224, 224) for example.'
                )
    student, teacher = distiller.network_taps[True], distiller.network_taps[False]
    channels = match_networks(checked, distiller.connectors, student, teacher, image_size)
    distiller.adapters.build(channels, student)
    _init_connector_channels(distiller, checked)
    _try_losses(distiller, checked, image_size)
    return list(unchecked)


def check_batch_records(distiller: LipschitzDistiller, loss_names: Iterable[str], image_size: Size | None) -> None:
    """Check losses on the records of a training step.

    Args:
        distiller (LipschitzDistiller): The distiller, whose taps have the records of a batch.
        loss_names (Iterable[str]): Names of the losses.
        image_size (tuple[int, int], optional): Height and width of the images in pixels.

    Raises:
        ConfigRuntimeError: A tap recorded nothing.
        ConfigValueError: As :func:`check_probe_records`, or two taps need an adapter, which can no longer be built.
    """
    mappings = {name: distiller.loss_forward_mappings[name] for name in loss_names}
    student, teacher = distiller.network_taps[True], distiller.network_taps[False]
    for mapping in mappings.values():
        for record in mapping.values():
            taps = student if record['from_student'] else teacher
            for name in recorder_names(record):
                if not taps.is_recorded(name):
                    raise ConfigRuntimeError(
                        f"the {taps.role}'s tap {taps.source(name)!r} recorded nothing in the first training step: "
                        f'{type(taps.model).__name__} does not call it; tap a layer that it calls.'
                    )
    channels = match_networks(mappings, distiller.connectors, student, teacher, image_size)
    distiller.adapters.check_complete(channels, student)
    distiller.init_ofd_connectors(teacher.model)
    _try_losses(distiller, mappings, image_size)
    distiller.adapters.clear_outputs()


def _missing(distiller: LipschitzDistiller, mapping: Mapping[str, dict]) -> bool:
    """Return whether a recorder of a loss has no record, although it needs no annotations."""
    for record in mapping.values():
        taps = distiller.network_taps[record['from_student']]
        for name in recorder_names(record):
            if not taps.is_recorded(name) and not requires_annotations(taps.manager.get_recorder(name)):
                return True
    return False


def _init_connector_channels(distiller: LipschitzDistiller, mappings: Mappings) -> None:
    for mapping in mappings.values():
        connectors = [
            distiller.connectors[record['connector']] for record in mapping.values() if record.get('connector')
        ]
        for connector in filter(needs_channels, connectors):
            with evaluating(distiller), torch.no_grad():
                maps = {
                    record['from_student']: distiller.get_record(**{**record, 'connector': None})
                    for record in mapping.values()
                }
            connector.init_channels(*([num_channels(feature) for feature in maps[side]] for side in (True, False)))
            connector.to(maps[True][0].device)


def _try_losses(distiller: LipschitzDistiller, mappings: Mappings, image_size: Size | None) -> None:
    """Compute each loss once, so that what does not fit is reported with the shapes of its taps."""
    with evaluating(distiller), torch.no_grad():
        for loss_name, mapping in mappings.items():
            if not all(distiller.network_taps[r['from_student']].has_records(r) for r in mapping.values()):
                _check_scores(distiller, loss_name, mapping)
                continue
            try:
                distiller.compute_loss(loss_name, None, image_size)
            except Exception as error:
                records = {
                    argument: distiller.get_record(**record, image_size=image_size)
                    for argument, record in mapping.items()
                }
                raise loss_error(loss_name, records, error) from error


def _check_scores(distiller: LipschitzDistiller, loss_name: str, mapping: Mapping[str, dict]) -> None:
    """Compare the class scores of a loss that also needs annotations, such as DKD, which are only there in training."""
    records = {
        argument: distiller.get_record(**record)
        for argument, record in mapping.items()
        if distiller.network_taps[record['from_student']].has_records(record)
    }
    scores = [record for record in records.values() if isinstance(record, Tensor) and record.dim() == 2]
    if len(scores) == 2 and scores[0].shape != scores[1].shape:
        raise loss_error(loss_name, records, ConfigValueError(different_classes(*scores)))


def find_nonfinite_tap(distiller: LipschitzDistiller) -> str:
    """Find a recorded map that is not finite.

    Args:
        distiller (LipschitzDistiller): The distiller, whose taps have the records of a batch.

    Returns:
        str: The first tap of the student that is not finite, as a clause; empty if there is none. It is no error in one batch: with
        float16, such a step is skipped. See :class:`lckd_mm.engine.hooks.FiniteLossHook`.

    Raises:
        ConfigRuntimeError: A tap of the teacher is not finite; names the tap and the iteration.
    """
    clauses = {
        is_student: distiller.network_taps[is_student].nonfinite_tap(
            dict(records_of(distiller.loss_forward_mappings, from_student=is_student))
        )
        for is_student in (False, True)
    }
    if clauses[False]:
        raise ConfigRuntimeError(f'{clauses[False]}: check the checkpoint and the input, or train without --amp.')
    return clauses[True]


def check_batch_sizes(networks: Iterable[NetworkTaps]) -> None:
    """Check that all taps of both networks have recorded as many maps, one per image.

    Args:
        networks (Iterable[NetworkTaps]): The taps of student and teacher, which have the records of a batch.

    Raises:
        ConfigRuntimeError: They have not; names the taps. A network may repeat the images in training, as TridentNet does for its branches.
    """
    sizes = {
        (taps.role, taps.source(name)): len(feature)
        for taps in networks
        for name in taps.taps
        if taps.is_recorded(name)
        for feature in taps.read_maps(name)
        if isinstance(feature, Tensor)
    }
    if len(set(sizes.values())) > 1:
        first = next(iter(sizes.values()))
        counts = ', '.join(
            f"{size} maps at the {role}'s {source!r}" for (role, source), size in sizes.items() if size != first
        )
        raise ConfigRuntimeError(
            f'the taps have {first} maps for a batch of as many images, but {counts} in training: such a layer repeats or splits the '
            'images, and is no tap; name other layers as `taps`.'
        )
