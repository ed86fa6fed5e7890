import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log

from lckd_mm.errors import ConfigValueError

from ..interfaces import requires_annotations
from ..utils.image_size import get_image_size
from .network_taps import NetworkTaps
from .probe import ProbeResult, protect_unseen, run_probe
from .probe_inputs import check_probe_options, describe_inputs, list_probe_inputs, make_inputs, resize_inputs
from .token_grids import Size

Records = Sequence[tuple[str, Mapping[str, Any]]]
_INDICES = ('record_idx', 'data_idx')


class NetworkProbe:
    """Forward passes that fill the recorders of both networks, from images of the same size.

    A network that does not run on the probe inputs, or does not reach a tap without annotations, is no error: a warning names what is
    checked in the first training step instead.

    Args:
        size (Sequence[int], optional): ``probe_size`` of :class:`LipschitzDistiller`.
        inputs (Any): ``probe_inputs`` of :class:`LipschitzDistiller`.

    Raises:
        ConfigValueError: One of the arguments is not valid.
    """

    def __init__(self, size: Sequence[int] | None, inputs: Any) -> None:
        check_probe_options(size, inputs)
        self.size, self.inputs = size, inputs
        self.image_size: Size | None = None
        self._sides: dict[str, tuple[NetworkTaps, Records]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether both networks have been probed."""
        return len(self._sides) == 2

    def run(self, taps: NetworkTaps, records: Records) -> None:
        """Fill the recorders of a network, and determine how its numbers of tokens depend on the size of the image.

        Args:
            taps (NetworkTaps): The network, attached.
            records (Sequence[tuple[str, Mapping]]): Recorder names, each with the record of a loss that reads it.

        Raises:
            ConfigValueError: The network runs, but a tap in a part of it that was run records nothing.
        """
        previous, self._sides[taps.role] = self.image_size, (taps, records)
        image_size = self._probe(taps, records)
        self.image_size = image_size or previous
        if previous is None or image_size in (None, previous):
            return
        # The maps of both networks are compared, so they must be those of one size.
        for other, other_records in [side for role, side in self._sides.items() if role != taps.role]:
            if self._probe(other, other_records) != image_size:
                other.clear()
                _warn(
                    f'the {other.role} and the {taps.role} run on no common size of the probe image, so that their losses are checked only '
                    'in the first training step; set `probe_size` to the size of the images of the training.'
                )

    def _probe(self, taps: NetworkTaps, records: Records) -> Size | None:
        required = [name for name, _ in records if not requires_annotations(taps.manager.get_recorder(name))]
        candidates = list_probe_inputs(taps.model, self.size, self.inputs, self.image_size)
        result = run_probe(taps.model, taps, required, candidates)
        protect_unseen(taps.model, taps, result.missing)
        if result.inputs is None:
            _warn_of_failure(taps, candidates[0], result)
            return None
        _check_reached(taps, result)
        image_size = get_image_size(make_inputs(result.inputs, taps.model))
        if image_size is not None and self._observe(taps, records, image_size):
            # The aspect ratio separates height and width, the odd size shows the rounding at the border.
            height, width = image_size
            for size in ((height, width + width // 2), (height + 1, width - 1)):
                inputs = resize_inputs(result.inputs, size)
                if run_probe(taps.model, taps, required, [inputs]).inputs is not None:
                    self._observe(taps, records, size)
            taps.token_grids.prefer(result.map_sizes, image_size)
            run_probe(taps.model, taps, required, [result.inputs])
        return image_size

    @staticmethod
    def _observe(taps: NetworkTaps, records: Records, image_size: Size) -> bool:
        has_tokens = False
        seen: list[Any] = []
        for name, record in records:
            indices = {key: record[key] for key in _INDICES if key in record}
            if taps.is_recorded(name) and (name, indices) not in seen:
                seen.append((name, indices))
                has_tokens |= taps.observe_tokens(image_size, name, **indices)
        return has_tokens


def _check_reached(taps: NetworkTaps, result: ProbeResult) -> None:
    """Report recorders without a record: an error in a part of the network that was run, a warning in another."""
    parts = {name.partition('.')[0] for name in result.called}
    sources = [taps.source(name) for name in result.missing]
    for source in sources:
        if source.partition('.')[0] in parts:
            raise ConfigValueError(
                f"the {taps.role}'s tap {source!r} recorded nothing: the forward pass of {type(taps.model).__name__} does not reach it "
                'without annotations; tap the backbone or the neck.'
            )
    if sources:
        reason = f' ({type(result.error).__name__}: {result.error})' if result.error else ''
        _warn(
            f'the forward pass of the {taps.role} does not reach the taps {sources} without annotations{reason}, so that their channels, '
            'sizes and losses are checked only in the first training step.'
        )


def _warn_of_failure(taps: NetworkTaps, inputs: Any, result: ProbeResult) -> None:
    _warn(
        f'the {taps.role} does not run on a probe image of {describe_inputs(inputs)} ({type(result.error).__name__}: {result.error}), so '
        'that the channels, sizes and losses of its taps are checked only in the first training step; give the shape of its input to check '
        'them before, probe_inputs=(4, 224, 224) for example, or a list or dict of shapes.'
    )


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
