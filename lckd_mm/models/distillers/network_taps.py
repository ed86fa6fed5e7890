from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import MessageHub
from mmrazor.models.task_modules import RecorderManager
from torch import Tensor, nn

from lckd_mm.errors import ConfigRuntimeError, ConfigTypeError, ConfigValueError, unknown_name
from lckd_mm.spectral import Grid

from ..interfaces import detects_overwriting
from ..recorders import ForwardStop, stop_after_records
from .mappings import recorder_names
from .token_grids import Size, TokenGrids

Tap = str | dict[str, Any]


@dataclass(frozen=True)
class TapOptions:
    """One entry of ``taps``.

    Attributes:
        recorder (dict): Config of the recorder.
        indices (dict): ``record_idx`` and ``data_idx``, as far as they are configured.
        margin (str, optional): Name of the BN that gives the OFD margins.
        grid (tuple[int, ...], optional): Height and width of a token map, and the number of leading tokens without a place in it.
    """

    recorder: dict[str, Any]
    indices: dict[str, int] = field(default_factory=dict)
    margin: str | None = None
    grid: tuple[int, ...] | None = None

    @classmethod
    def from_config(cls, tap: Tap) -> 'TapOptions':
        """Parse a module name or a recorder config.

        Raises:
            ConfigTypeError: ``tap`` is neither.
            ConfigValueError: ``grid`` is not valid.
        """
        if not isinstance(tap, (str, dict)):
            raise ConfigTypeError(
                f"the tap {tap!r} is a {type(tap).__name__}: give the name of a module, 'backbone.layer1' for example, or a dict with its "
                '`source`.'
            )
        recorder: dict[str, Any] = dict(source=tap) if isinstance(tap, str) else dict(tap)
        indices: dict[str, int] = {key: recorder.pop(key) for key in ('record_idx', 'data_idx') if key in recorder}
        margin, grid = recorder.pop('margin', None), recorder.pop('grid', None)
        is_sequence = isinstance(grid, (tuple, list)) and len(grid) in (2, 3)
        if grid is not None and not (is_sequence and all(isinstance(n, int) and n >= 0 for n in grid)):
            raise ConfigValueError(
                f'the tap {tap!r} has grid={grid!r}: give height and width of its tokens, (h, w), or (h, w, p) with p leading tokens '
                'without a place, such as a class token.'
            )
        return cls({'type': 'PreActivation', **recorder}, indices, margin, None if grid is None else tuple(grid))

    def is_same_layer(self, other: 'TapOptions') -> bool:
        """Return whether both record the same output."""
        return (self.recorder, self.indices) == (other.recorder, other.indices)


def parse_taps(taps: Sequence[Tap]) -> dict[str, TapOptions]:
    """Return the options of each tap by the name of its recorder: ``tap0``, ``tap1``, ...

    Example:
        >>> parse_taps(['backbone.layer1'])['tap0'].recorder
        {'type': 'PreActivation', 'source': 'backbone.layer1'}
    """
    return {f'tap{i}': TapOptions.from_config(tap) for i, tap in enumerate(taps)}


class NetworkTaps:
    """The recorders of one network, and what they have recorded.

    Args:
        role (str): ``'student'`` or ``'teacher'``, for messages.
        manager (RecorderManager): The recorders by name.
        taps (Mapping[str, TapOptions]): Options of those recorders that are taps.
    """

    def __init__(self, role: str, manager: RecorderManager, taps: Mapping[str, TapOptions]) -> None:
        self.role = role
        self.manager = manager
        self.taps = dict(taps)
        self.token_grids = TokenGrids()
        self._modules: dict[str, nn.Module] = {}

    def source(self, name: str) -> str:
        """Return the name of the module that a recorder observes, ``'backbone.layer1'`` for example."""
        return self.manager.get_recorder(name).source

    @property
    def model(self) -> nn.Module:
        """The network to which the recorders are attached."""
        return self._modules['']

    def attach(self, model: nn.Module) -> None:
        """Register the recorders on a model.

        Raises:
            ConfigValueError: The model has no module, or no parameter, of that name, or the module is a list of modules.
        """
        modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
        for recorder in self.manager.recorders.values():
            kind = type(recorder).__name__
            sources = parameters if kind.startswith('Parameter') else modules
            # Functions and methods are imported by their path; a recorder without a source selects it itself.
            if recorder.source and not kind.startswith(('Function', 'Method')) and recorder.source not in sources:
                valid = [name for name in sources if name]
                raise ConfigValueError(unknown_name(f"the {self.role}'s tap", recorder.source, valid))
            if sources is modules and recorder.source:
                self._check_is_called(recorder.source, modules[recorder.source])
        self.manager.initialize(model)
        self._modules = modules

    def _check_is_called(self, name: str, module: nn.Module) -> None:
        # The class of a list or a dict of modules has no `forward`: the network calls their elements.
        if type(module).forward is nn.Module.forward:
            elements = [f'{name}.{key}' for key, _ in module.named_children()]
            raise ConfigValueError(
                f"the {self.role}'s tap {name!r} is a {type(module).__name__}, which has no output of its own: tap one of its "
                f'elements, {" or ".join(map(repr, elements[-2:])) or "or another layer"}.'
            )

    def reattach(self, model: nn.Module) -> None:
        """Register the recorders on the modules that replaced tapped ones: without a process group a Runner replaces each SyncBN."""
        modules = dict(model.named_modules())
        for recorder in self.manager.recorders.values():
            source = recorder.source
            if source in self._modules and modules.get(source) is not self._modules[source]:
                recorder.prepare_from_model(model)
        self._modules = modules

    def is_recorded(self, name: str) -> bool:
        """Return whether a recorder has a record."""
        return bool(self.manager.get_recorder(name).data_buffer)

    def has_records(self, record: Mapping[str, Any]) -> bool:
        """Return whether all recorders of a record of a mapping have a record."""
        return all(self.is_recorded(name) for name in recorder_names(record))

    def read(self, name: str, record_idx: int = 0, data_idx: int | None = None) -> Any:
        """Return a record; the indices of the tap itself have priority.

        Raises:
            ConfigRuntimeError: The forward pass did not reach the tap.
        """
        record_idx, data_idx = self._indices(name, record_idx, data_idx)
        if not self.is_recorded(name):
            raise ConfigRuntimeError(
                f"the {self.role}'s tap {self.source(name)!r} recorded nothing in this forward pass: tap a layer that every pass reaches, "
                'and switch off options that replace the forward of a network, such as `efficient_conv_bn_eval`.'
            )
        return self.manager.get_recorder(name).get_record_data(record_idx=record_idx, data_idx=data_idx)

    def _indices(self, name: str, record_idx: int, data_idx: int | None) -> tuple[int, int | None]:
        indices = self.taps[name].indices if name in self.taps else {}
        return indices.get('record_idx', record_idx), indices.get('data_idx', data_idx)

    def read_maps(self, name: str, record_idx: int = 0, data_idx: int | None = None) -> list[Any]:
        """Return the feature maps of a record: all levels if it is a tuple of tensors, else the record itself."""
        record = self.read(name, record_idx, data_idx)
        is_pyramid = isinstance(record, (tuple, list)) and all(isinstance(level, Tensor) for level in record)
        return list(record) if is_pyramid else [record]

    def map_keys(self, name: str, num_maps: int, record_idx: int = 0, data_idx: int | None = None) -> list[str]:
        """Return a key for each map of a record: ``tap0``; ``tap0_level1`` in a pyramid; ``tap0_data1`` if the mapping selects it."""
        own = self.taps[name].indices if name in self.taps else {}
        if record_idx and 'record_idx' not in own:
            name = f'{name}_record{record_idx}'
        if data_idx is not None and 'data_idx' not in own:
            name = f'{name}_data{data_idx}'
        return [name] if num_maps == 1 else [f'{name}_level{level}' for level in range(num_maps)]

    def observe_tokens(self, image_size: Size, name: str, record_idx: int = 0, data_idx: int | None = None) -> bool:
        """Note the numbers of tokens of a record of one image of (H, W) pixels; return whether the record contains tokens."""
        indices = self._indices(name, record_idx, data_idx)
        maps = self.read_maps(name, record_idx, data_idx)
        levels = [level for level, feature in enumerate(maps) if isinstance(feature, Tensor) and feature.dim() == 3]
        for level in levels:
            key = (name, *indices, level)
            # The tokens of windows are no rows of one image.
            if len(maps[level]) == 1:
                self.token_grids.observe(key, maps[level].shape[1], image_size)
            else:
                self.token_grids.forget(key)
        return bool(levels)

    def grids(
        self, image_size: Size | None, name: str, record_idx: int = 0, data_idx: int | None = None
    ) -> list[Grid | None]:
        """Return the grid of each map of a record.

        Args:
            image_size (tuple[int, int], optional): Height and width of the recorded images in pixels; None if they are unknown.
            name (str): Name of the recorder.
            record_idx (int): As in :meth:`read`. Defaults to 0.
            data_idx (int, optional): As in :meth:`read`. Defaults to None.

        Returns:
            list[Grid | None]: The grids; None for maps (B, C, H, W), and for tokens whose grid is not determined.
        """
        given = self.taps[name].grid if name in self.taps else None
        indices = self._indices(name, record_idx, data_idx)
        grids: list[Grid | None] = []
        for level, feature in enumerate(self.read_maps(name, record_idx, data_idx)):
            if not isinstance(feature, Tensor) or feature.dim() != 3:
                grids.append(None)
            elif given is not None and Grid(*given).num_positions == feature.shape[1]:
                grids.append(Grid(*given))
            else:
                # The images of a probe may have another size than those of the training, to which a given grid belongs.
                grids.append(self.token_grids.find((name, *indices, level), feature.shape[1], image_size))
        return grids

    def clear(self) -> None:
        """Clear the recorded tensors; those of a student keep the graph, and thereby the memory, of an iteration."""
        for recorder in self.manager.recorders.values():
            recorder.reset_data_buffer()

    def forward_stop(self, model: nn.Module, records: Iterable[tuple[str, Mapping[str, Any]]]) -> ForwardStop:
        """Return what ends a forward pass of ``model`` once all records are there.

        Args:
            model (nn.Module): The network.
            records (Iterable[tuple[str, Mapping]]): Recorder names, each with the record of a loss that reads it.
        """
        counts: dict[str, int] = {}
        for name, record in records:
            indices = self.taps[name].indices if name in self.taps else {}
            index = indices.get('record_idx', record.get('record_idx', 0))
            counts[name] = max(counts.get(name, 0), index + 1)
        return stop_after_records(model, self.manager.recorders, counts)

    def check_not_overwritten(self) -> None:
        """Check that no in-place operation has changed a record.

        Raises:
            ConfigRuntimeError: One has; names the tap.
        """
        for recorder in self.manager.recorders.values():
            if detects_overwriting(recorder) and recorder.overwritten():
                raise ConfigRuntimeError(
                    f"the {self.role}'s tap {recorder.source!r} was overwritten by an in-place operation after it was recorded: record a "
                    f'copy with dict(source={recorder.source!r}, copy=True).'
                )

    def nonfinite_tap(self, names: Iterable[str]) -> str:
        """Return the first tap whose recorded maps are not finite, with its iteration, as a clause; empty if all are finite."""
        for name in dict.fromkeys(names):
            for feature in self.read_maps(name):
                if isinstance(feature, Tensor) and not feature.isfinite().all():
                    iteration = MessageHub.get_current_instance().get_info('iter', 0) + 1
                    num_invalid = int((~feature.isfinite()).sum())
                    return (
                        f"the {self.role}'s tap {self.source(name)!r} is not finite at iteration {iteration} ({num_invalid} of "
                        f'{feature.numel()} values)'
                    )
        return ''
