import contextlib
import copy
import math
from inspect import signature
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.logging import MessageHub
from mmrazor.models.architectures.connectors import OFDTeacherConnector
from mmrazor.models.distillers import OFDDistiller
from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lckd_mm.spectral import pair_feature_maps
from lckd_mm.spectral.naming import unknown_name

from ..connectors import MarginConnector, SpectralNormConnector
from ..losses import LipschitzLoss
from ..task_modules import ForwardStop, PreActivationRecorder

Tap = Union[str, Dict[str, Any]]


@MODELS.register_module()
class LipschitzDistiller(OFDDistiller):
    """A ``ConfigurableDistiller`` that takes its taps once, adapts them, and checks the set-up before the first step.

    Beyond ``ConfigurableDistiller`` (and the margins of ``OFDDistiller``):

    - ``taps`` names the layers once, for both networks; ``recorder='taps'`` in a mapping means all of them, in order.
    - A mapping's ``recorder`` may be a list, gathered into the tuple that :class:`SpectralNormConnector` wants.
    - The student's taps pass adapters to the teacher's channel counts, which are read off the two models.
    - Names, channel counts, sizes and losses are tried on a probe image when the models are handed over.

    Args:
        taps (Sequence[str | dict], optional): Layers of both networks, first to last. A string is a module name, recorded
            by :class:`PreActivationRecorder`. A dict is a recorder config (its ``type`` defaults to ``'PreActivation'``)
            that may hold ``record_idx`` and ``data_idx`` for modules called several times or with several outputs, and
            ``margin``, the BN that OFD takes the teacher's margins from, where it is not the tap's own last one.
            They become the recorders ``tap0``, ``tap1``, ... Defaults to None.
        student_taps (Sequence[str | dict], optional): The student's, where they differ from ``taps``. Defaults to None.
        teacher_taps (Sequence[str | dict], optional): The teacher's, where they differ from ``taps``. Defaults to None.
        adapters (bool | str | Sequence[dict | None]): ``'auto'``, a :class:`PointwiseAdapter` on each of the student's taps
            that has another channel count than the teacher's; True, on every tap (the published settings); False, on
            none: spectral norms need no equal channel counts; or a connector config or None for each tap, to which
            ``in_channels`` and ``out_channels`` are given. Defaults to ``'auto'``.
        probe_size (Sequence[int]): Height and width in pixels of the probe image. Defaults to (128, 128).
        student_recorders, teacher_recorders, distill_deliveries, connectors, distill_losses, loss_forward_mappings: As
            in ``ConfigurableDistiller``.

    Attributes:
        spectral_norms (Dict[str, Dict[str, Tensor]]): For each :class:`LipschitzLoss` its latest detached inputs
            ``student`` and ``teacher``, (pairs, batch).
        extents (Tensor, optional): (B, 2), what part of the height and width of the batch's maps each of its images fills, for
            the next :meth:`compute_distill_losses`. Padding would shift the norms by more than images differ
            (docs/benchmarks.md), so that it does not count. None where nothing is padded.

    Raises:
        ValueError: At construction: another number of taps on the two sides, a mapping that names an unknown loss,
            argument, recorder or connector. When the models are handed over: an unknown tap, a tap that yields no
            feature map, maps that cannot be paired, a loss that cannot be computed of them.
        RuntimeError: In training: a teacher's tap is not finite; names the tap and the iteration.
    """

    def __init__(
        self,
        taps: Optional[Sequence[Tap]] = None,
        student_taps: Optional[Sequence[Tap]] = None,
        teacher_taps: Optional[Sequence[Tap]] = None,
        adapters: Union[bool, str, Sequence[Optional[dict]]] = 'auto',
        probe_size: Sequence[int] = (128, 128),
        student_recorders: Optional[Dict[str, Dict]] = None,
        teacher_recorders: Optional[Dict[str, Dict]] = None,
        loss_forward_mappings: Optional[Dict[str, Dict]] = None,
        **kwargs: Any,
    ) -> None:
        student_taps = list(student_taps if student_taps is not None else taps or ())
        teacher_taps = list(teacher_taps if teacher_taps is not None else taps or ())
        if len(student_taps) != len(teacher_taps):
            raise ValueError(
                f'the student has {len(student_taps)} taps {student_taps} and the teacher {len(teacher_taps)} '
                f'{teacher_taps}, but each tap of the one is compared with that of the other: name as many on either side.'
            )
        self._tap_names = [f'tap{i}' for i in range(len(student_taps))]
        self._indices: Dict[Tuple[bool, str], Dict[str, int]] = {}
        self._margin_sources: Dict[str, str] = {}
        super().__init__(
            student_recorders={**self._tap_recorders(student_taps, True), **(student_recorders or {})},
            teacher_recorders={**self._tap_recorders(teacher_taps, False), **(teacher_recorders or {})},
            loss_forward_mappings=self._name_taps(loss_forward_mappings),
            **kwargs,
        )
        if isinstance(adapters, str) and adapters != 'auto':
            raise ValueError(f"adapters={adapters!r} is unknown: give 'auto', True, False or a config for each tap.")
        if not isinstance(adapters, (bool, str)) and len(adapters) != len(self._tap_names):
            raise ValueError(
                f'adapters has {len(adapters)} entries for {len(self._tap_names)} taps: give one for each, or None.'
            )
        self._adapters_wanted = adapters
        self.adapters = nn.ModuleDict()
        self.probe_size = tuple(probe_size)
        self.spectral_norms: Dict[str, Dict[str, Tensor]] = {}
        self.extents: Optional[Tensor] = None
        self._adapted: Dict[str, Tensor] = {}
        self._probed: Dict[bool, bool] = {True: False, False: False}
        self._sources: Dict[bool, Dict[str, nn.Module]] = {}

    # -- configuration -------------------------------------------------------------------------------------------------

    def _tap_recorders(self, taps: Sequence[Tap], from_student: bool) -> Dict[str, Dict]:
        recorders = {}
        for name, tap in zip(self._tap_names, taps):
            recorder = dict(source=tap) if isinstance(tap, str) else dict(tap)
            self._indices[from_student, name] = {
                k: recorder.pop(k) for k in ('record_idx', 'data_idx') if k in recorder
            }
            margin = recorder.pop('margin', None)
            if margin is not None and not from_student:
                self._margin_sources[name] = margin
            recorders[name] = {'type': 'PreActivation', **recorder}
        return recorders

    def _name_taps(self, mappings: Optional[Dict[str, Dict]]) -> Dict[str, Dict]:
        """Replace ``recorder='taps'`` by the list of all taps."""
        mappings = copy.deepcopy(dict(mappings or {}))
        for mapping in mappings.values():
            for record in mapping.values() if isinstance(mapping, dict) else ():
                if record.get('recorder') == 'taps':
                    if not self._tap_names:
                        raise ValueError(
                            "a mapping says recorder='taps', but no taps are given: name the layers in `taps`."
                        )
                    record['recorder'] = list(self._tap_names)
        return mappings

    def _check_loss_forward_mappings(
        self,
        losses: nn.ModuleDict,
        loss_forward_mappings: Dict[str, Dict],
        student_recorders: Any,
        teacher_recorders: Any,
    ) -> None:
        """As the base class, for lists of recorders too, and with the valid names in the message."""
        for loss_name, mapping in loss_forward_mappings.items():
            if loss_name not in losses:
                raise ValueError(unknown_name('loss_forward_mappings: loss', loss_name, losses))
            parameters = signature(losses[loss_name].forward).parameters
            for argument, record in mapping.items():
                where = f'loss_forward_mappings.{loss_name}.{argument}'
                if argument not in parameters:
                    raise ValueError(unknown_name(f'{where}: argument', argument, parameters))
                if not isinstance(record.get('from_student'), bool) or 'recorder' not in record:
                    raise ValueError(
                        f'{where} is {dict(record)}, but needs a `recorder` and `from_student=True` or False.'
                    )
                recorders = (student_recorders if record['from_student'] else teacher_recorders).recorders
                for name in _names(record):
                    if name not in recorders:
                        side = 'student' if record['from_student'] else 'teacher'
                        raise ValueError(unknown_name(f"{where}: the {side}'s recorder", name, recorders))
                if record.get('connector') and record['connector'] not in self.connectors:
                    raise ValueError(unknown_name(f'{where}: connector', record['connector'], self.connectors))
            missing = [n for n, p in parameters.items() if p.default is p.empty and n not in mapping]
            if missing:
                raise ValueError(f'loss_forward_mappings.{loss_name} says nothing of {missing}, which the loss needs.')

    def _records(self, from_student: bool) -> Iterator[Tuple[str, Dict]]:
        """Every (recorder name, record) that the losses read on one side."""
        for mapping in self.loss_forward_mappings.values():
            for record in mapping.values():
                if record['from_student'] is from_student:
                    for name in _names(record):
                        yield name, record

    def source(self, name: str, from_student: bool) -> str:
        """The module a recorder listens to: ``'backbone.layer1'``."""
        return self._manager(from_student).get_recorder(name).source

    def _manager(self, from_student: bool) -> Any:
        return self.student_recorders if from_student else self.teacher_recorders

    # -- set-up against the models ---------------------------------------------------------------------------------------

    def prepare_from_student(self, model: nn.Module) -> None:
        """Initialise the student's recorders and read off its taps' shapes."""
        self._prepare(model, True)

    def prepare_from_teacher(self, model: nn.Module) -> None:
        """Initialise the teacher's recorders and read off its taps' shapes and its margins."""
        self._prepare(model, False)

    def _prepare(self, model: nn.Module, from_student: bool) -> None:
        side = 'student' if from_student else 'teacher'
        manager = self._manager(from_student)
        modules = dict(model.named_modules())
        parameters = dict(model.named_parameters())
        for recorder in manager.recorders.values():
            kind = type(recorder).__name__
            known = parameters if kind.startswith('Parameter') else modules
            if not kind.startswith(('Function', 'Method')) and recorder.source not in known:
                raise ValueError(unknown_name(f"the {side}'s tap", recorder.source, [n for n in known if n]))
        manager.initialize(model)
        self._sources[from_student] = modules
        self._probe(model, from_student)
        if not from_student:
            # Of what the teacher holds now; its checkpoint comes later, but what has no margin is said here.
            self.init_ofd_connectors(model)
        self._probed[from_student] = True
        if all(self._probed.values()):
            self._match()
            self._reset_records()

    def follow(self, model: nn.Module, from_student: bool) -> None:
        """Listen to the modules that stand where tapped ones were: a Runner replaces every SyncBN without a process group."""
        modules, known = dict(model.named_modules()), self._sources[from_student]
        for recorder in self._manager(from_student).recorders.values():
            if recorder.source in known and modules.get(recorder.source) is not known[recorder.source]:
                recorder.prepare_from_model(model)
        self._sources[from_student] = modules

    def forward_stop(self, model: nn.Module, from_student: bool) -> ForwardStop:
        """What ends a forward of ``model`` once every record of its side is there."""
        needed: Dict[str, int] = {}
        for name, record in self._records(from_student):
            index = self._indices.get((from_student, name), {}).get('record_idx', record.get('record_idx', 0))
            needed[name] = max(needed.get(name, 0), index + 1)
        recorders = self._manager(from_student).recorders
        sources = {recorders[name].source for name in needed}
        modules = [module for name, module in model.named_modules() if name in sources]
        return ForwardStop(modules, lambda: all(len(recorders[n].data_buffer) >= k for n, k in needed.items()))

    def _probe(self, model: nn.Module, from_student: bool) -> None:
        """Fill the recorders of one side from a probe image."""
        side = 'student' if from_student else 'teacher'
        like = next(model.parameters())
        image = torch.zeros(1, 3, *self.probe_size, dtype=like.dtype, device=like.device)
        # A feature extractor needs no annotations; a tap in a head may be reached without them too.
        forwards = [getattr(model, 'extract_feat', model), model]
        for forward in forwards[forwards[0] is model :]:
            self._run_probe(model, from_student, forward, image)
            missed = [n for n in dict(self._records(from_student)) if not self._buffer(n, from_student)]
            if not missed:
                return
        raise ValueError(
            f"the {side}'s tap {self.source(missed[0], from_student)!r} recorded nothing: the forward pass of "
            f'{type(model).__name__} does not reach it without annotations; tap the backbone or the neck.'
        )

    def _run_probe(self, model: nn.Module, from_student: bool, forward: Callable, image: Tensor) -> None:
        side = 'student' if from_student else 'teacher'
        manager = self._manager(from_student)
        for recorder in manager.recorders.values():
            recorder.reset_data_buffer()
        # Not stopped after the last tap, so that what overwrites that is seen.
        with _evaluating(model), manager, torch.no_grad(), self._records_kept(model, manager):
            try:
                forward(image)
            except Exception as error:
                if forward is model and hasattr(model, 'extract_feat'):
                    # Its features could be had, so it is the head that asks for more than an image.
                    return
                raise ValueError(
                    f'the {side} does not run on a probe image of {self.probe_size[0]} x {self.probe_size[1]} pixels '
                    f"({type(error).__name__}: {error}); set the distiller's `probe_size` to a size it takes."
                ) from error

    @staticmethod
    @contextlib.contextmanager
    def _records_kept(model: nn.Module, manager: Any) -> Iterator[None]:
        """See to it that what a forward records is not overwritten, in it and from then on."""

        def spare(module: nn.Module, inputs: Tuple) -> None:
            if inputs and any(inputs[0] is record for r in manager.recorders.values() for record in r.data_buffer):
                module.inplace = False

        in_place = [module for module in model.modules() if getattr(module, 'inplace', False) is True]
        handles = [module.register_forward_pre_hook(spare) for module in in_place]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for recorder in manager.recorders.values():
                # `out += identity` and the like, which no switch turns off.
                if isinstance(recorder, PreActivationRecorder) and recorder.overwritten():
                    recorder.copy = True

    def _buffer(self, name: str, from_student: bool) -> List:
        return self._manager(from_student).get_recorder(name).data_buffer

    def _match(self) -> None:
        """Compare the two sides' probe records, build the adapters, try the losses."""
        channels: Dict[str, Tuple[int, int]] = {}
        for loss_name, mapping in self.loss_forward_mappings.items():
            by_side = {side: [r for r in mapping.values() if r['from_student'] is side] for side in (True, False)}
            for side, records in by_side.items():
                for record in records:
                    if isinstance(record['recorder'], (list, tuple)):
                        self._check_pairs(record, side)
            students, teachers = by_side[True], by_side[False]
            if len(students) != 1 or len(teachers) != 1:
                continue
            student_names, teacher_names = _names(students[0]), _names(teachers[0])
            if len(student_names) != len(teacher_names):
                raise ValueError(
                    f"loss {loss_name!r} compares {len(student_names)} of the student's taps with {len(teacher_names)} of the "
                    "teacher's: name as many on either side."
                )
            for student_name, teacher_name in zip(student_names, teacher_names):
                if student_name not in self._tap_names and not isinstance(students[0]['recorder'], (list, tuple)):
                    continue
                pair = (
                    _n_channels(self._recorded(student_name, True, students[0])),
                    _n_channels(self._recorded(teacher_name, False, teachers[0])),
                )
                if channels.setdefault(student_name, pair) != pair:
                    raise ValueError(
                        f"the student's tap {self.source(student_name, True)!r} is compared with {channels[student_name][1]} "
                        f"and with {pair[1]} of the teacher's channels: name it twice, as two taps."
                    )
        self._build_adapters(channels)
        self._try_losses()

    def _check_pairs(self, record: Dict, from_student: bool) -> None:
        side = 'student' if from_student else 'teacher'
        maps = []
        for name in record['recorder']:
            feature = self._recorded(name, from_student, record)
            source = self.source(name, from_student)
            if isinstance(feature, (tuple, list)):
                raise ValueError(
                    f"the {side}'s tap {source!r} yields a {type(feature).__name__} of {len(feature)}, no feature map: pick "
                    f'one of them, dict(source={source!r}, data_idx=0).'
                )
            if not isinstance(feature, Tensor) or feature.dim() not in (3, 4):
                got = f'shape {tuple(feature.shape)}' if isinstance(feature, Tensor) else type(feature).__name__
                raise ValueError(
                    f"the {side}'s tap {source!r} yields no feature map but {got}: tap a layer whose output is (B, C, H, W), "
                    'or (B, N, C) for tokens.'
                )
            maps.append((source, feature))
        for (first, x), (second, y) in zip(maps, maps[1:]):
            try:
                pair_feature_maps(x, y)
            except (TypeError, ValueError) as error:
                raise ValueError(f"the {side}'s taps {first!r} and {second!r} cannot be paired: {error}") from error

    def _build_adapters(self, channels: Dict[str, Tuple[int, int]]) -> None:
        wanted = self._adapters_wanted
        for name, (student, teacher) in channels.items():
            if isinstance(wanted, (bool, str)):
                config = (
                    dict(type='PointwiseAdapter')
                    if wanted is True or (wanted == 'auto' and student != teacher)
                    else None
                )
            else:
                config = wanted[self._tap_names.index(name)] if name in self._tap_names else None
            if config is not None:
                adapter = MODELS.build(dict(config, in_channels=student, out_channels=teacher))
                like = self._recorded(name, True, {})
                self.adapters[name] = adapter.to(like.device)

    def _try_losses(self) -> None:
        """Compute each loss once on the probe, so that what does not fit is said now."""
        with _evaluating(self), torch.no_grad():
            for loss_name, mapping in self.loss_forward_mappings.items():
                try:
                    self._compute_loss(loss_name, mapping)
                except Exception as error:
                    shapes = {argument: _shapes(self.get_record(**r)) for argument, r in mapping.items()}
                    raise ValueError(
                        f'loss {loss_name!r} cannot be computed of its taps, {shapes}: {error}; tap both networks at the same '
                        'stride, and with `adapters` where their channels differ.'
                    ) from error
        self.spectral_norms.clear()

    # -- margins of OFD -------------------------------------------------------------------------------------------------

    def init_ofd_connectors(self, teacher: nn.Module) -> None:
        """Give every OFD connector the margins of its taps, from the teacher's BNs.

        The BN of a tap is the tap itself, or the last one of the block that a tap before the activation ends (of a ResNet's
        stage, the last BN of the last block), or the one that the tap names as its ``margin``.

        Args:
            teacher (nn.Module): The teacher, with its weights loaded.

        Raises:
            ValueError: A tap has no such BN.
        """
        for mapping in self.loss_forward_mappings.values():
            for record in mapping.values():
                if record['from_student'] or not record.get('connector'):
                    continue
                connector = self.connectors[record['connector']]
                if isinstance(connector, (OFDTeacherConnector, MarginConnector)):
                    margins = [self._get_margin_from_BN(self._margin_bn(teacher, name)) for name in _names(record)]
                    connector.init_margin(margins if isinstance(connector, MarginConnector) else margins[0])

    def _margin_bn(self, teacher: nn.Module, name: str) -> _BatchNorm:
        modules = dict(teacher.named_modules())
        recorder = self.teacher_recorders.get_recorder(name)
        source = recorder.source
        mend = f"give that tap the BN before its ReLU, dict(source={source!r}, margin='...'), or tap a BN"
        module, bns = modules[source], [n for n, m in modules.items() if isinstance(m, _BatchNorm)]
        named = self._margin_sources.get(name)
        if named is not None and named not in bns:
            raise ValueError(unknown_name(f"the BN of the margin of the teacher's tap {source!r}", named, bns))
        if named is None and not isinstance(module, _BatchNorm) and not isinstance(recorder, PreActivationRecorder):
            raise ValueError(
                f"the teacher's tap {source!r} is what a {type(module).__name__} puts out, after any ReLU in it, but the "
                "margins of OFD belong before a ReLU: record it with type='PreActivation', or tap a BN."
            )
        bn = _last_bn(module) if named is None else modules[named]
        if bn is None:
            norms = sorted({type(m).__name__ for m in module.modules() if 'Norm' in type(m).__name__}) or 'none'
            raise ValueError(
                f"the teacher's tap {source!r} does not end in a BN, which the margins of OFD are taken from (norms in it: "
                f'{norms}): {mend}.'
            )
        channels = _n_channels(self._recorded(name, False, {})) if self._buffer(name, False) else bn.num_features
        if bn.num_features != channels:
            raise ValueError(
                f"the teacher's tap {source!r} has {channels} channels, and the BN that would give their margins for OFD, "
                f'{named or "the last in it"}, {bn.num_features}: {mend}.'
            )
        return bn

    def _get_margin_from_BN(self, bn: _BatchNorm) -> Tensor:
        """The mean of the negative part of N(bias, weight^2), (1, C, 1, 1); -3 |weight| where there is next to none.

        As ``OFDDistiller``, for all channels at once, and defined for a weight of zero: the bias, or 0 where that is positive.
        """
        if bn.weight is None:
            return torch.full((1, bn.num_features, 1, 1), -1 / math.sqrt(math.pi / 2), device=bn.running_mean.device)
        std, mean = bn.weight.detach().double().abs(), bn.bias.detach().double()
        below = torch.special.ndtr(-mean / std.clamp(min=1e-300))
        density = torch.exp(-((mean / std.clamp(min=1e-300)) ** 2) / 2) / math.sqrt(2 * math.pi)
        # 0.001 and 3: published.
        margin = torch.where(below > 0.001, mean - std * density / below, -3 * std)
        return margin.to(bn.weight.dtype).view(1, -1, 1, 1)

    # -- training --------------------------------------------------------------------------------------------------------

    def _recorded(self, name: str, from_student: bool, record: Dict) -> Any:
        indices = {k: record[k] for k in ('record_idx', 'data_idx') if k in record}
        indices.update(self._indices.get((from_student, name), {}))
        return self._manager(from_student).get_recorder(name).get_record_data(**indices)

    def get_record(
        self,
        recorder: Union[str, Sequence[str]],
        from_student: bool,
        record_idx: int = 0,
        data_idx: Optional[int] = None,
        connector: Optional[str] = None,
        connector_idx: Optional[int] = None,
    ) -> Any:
        """As the base class; a list of recorders gives a tuple, and the student's taps come adapted."""
        record = dict(recorder=recorder, record_idx=record_idx, data_idx=data_idx)
        maps = []
        for name in _names(record):
            if from_student and name in self.adapters:
                if name not in self._adapted:
                    self._adapted[name] = self.adapters[name](self._recorded(name, True, record))
                maps.append(self._adapted[name])
            else:
                maps.append(self._recorded(name, from_student, record))
        data = tuple(maps) if isinstance(recorder, (list, tuple)) else maps[0]
        if connector:
            data = self.connectors[connector](data)
        return data if connector_idx is None else data[connector_idx]

    def _compute_loss(self, loss_name: str, mapping: Dict) -> Tensor:
        arguments = {argument: self.get_record(**record) for argument, record in mapping.items()}
        loss = self.distill_losses[loss_name]
        if isinstance(loss, LipschitzLoss):
            self.spectral_norms[loss_name] = {argument: norms.detach() for argument, norms in arguments.items()}
        return loss(**arguments)

    def compute_distill_losses(self) -> Dict[str, Tensor]:
        """Compute every loss of the current records, which are then let go of."""
        norms = [connector for connector in self.connectors.values() if isinstance(connector, SpectralNormConnector)]
        try:
            self._check_records_kept()
            for connector in norms:
                connector.extents = self.extents
            losses = {name: self._compute_loss(name, mapping) for name, mapping in self.loss_forward_mappings.items()}
            self._check_teacher_finite(losses)
        finally:
            self._reset_records()
            self.extents = None
            for connector in norms:
                connector.extents = None
        return losses

    def _check_records_kept(self) -> None:
        for from_student in (True, False):
            for recorder in self._manager(from_student).recorders.values():
                if isinstance(recorder, PreActivationRecorder) and recorder.overwritten():
                    side = 'student' if from_student else 'teacher'
                    raise RuntimeError(
                        f"the {side}'s tap {recorder.source!r} was overwritten in place after it was recorded: name it as "
                        f'dict(source={recorder.source!r}, copy=True).'
                    )

    def _check_teacher_finite(self, losses: Dict[str, Tensor]) -> None:
        """A loss that is finite was computed of finite maps; only where one is not are the maps looked at."""
        if not losses or torch.stack([loss.detach().sum().float() for loss in losses.values()]).isfinite().all():
            return
        for name, record in self._records(False):
            feature = self._recorded(name, False, record)
            if isinstance(feature, Tensor) and not feature.isfinite().all():
                iteration = MessageHub.get_current_instance().get_info('iter', 0) + 1
                n_bad = int((~feature.isfinite()).sum())
                raise RuntimeError(
                    f"the teacher's tap {self.source(name, False)!r} is not finite at iteration {iteration} ({n_bad} of "
                    f'{feature.numel()} values): check the teacher checkpoint and the input, or train without --amp.'
                )

    def _reset_records(self) -> None:
        # The student's maps hold the graph, and with it the memory, of the iteration.
        self._adapted.clear()
        for side in (True, False):
            for recorder in self._manager(side).recorders.values():
                recorder.reset_data_buffer()


def _names(record: Dict) -> List[str]:
    names = record['recorder']
    return list(names) if isinstance(names, (list, tuple)) else [names]


def _n_channels(feature: Any) -> int:
    return feature.shape[1] if feature.dim() == 4 else feature.shape[-1]


def _shapes(data: Any) -> Any:
    return [tuple(d.shape) for d in data] if isinstance(data, (tuple, list)) else tuple(data.shape)


def _last_bn(module: nn.Module) -> Optional[_BatchNorm]:
    """The BN that ends a module's main branch: its own last one, or that of its last part which has one."""
    if isinstance(module, _BatchNorm):
        return module
    # The BN of a shortcut is a grandchild, within the Sequential of the shortcut.
    own = [child for child in module.children() if isinstance(child, _BatchNorm)]
    if own:
        return own[-1]
    parts = [_last_bn(child) for child in module.children()]
    parts = [bn for bn in parts if bn is not None]
    return parts[-1] if parts else None


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Within the context every module is in evaluation mode; afterwards each is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
