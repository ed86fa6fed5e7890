from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmrazor.models.distillers import ConfigurableDistiller
from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError

from ..interfaces import accepts_valid_ratios, reports_norms
from ..presets import check_tap_list, expand_distiller
from ..recorders import ForwardStop
from .connections import Record, connect, read_arguments
from .distiller_interface import DistillerInterface
from .finite_check import FiniteCheck
from .loss_precision import compute_in_float32
from .mappings import check_mappings, records_of, replace_all_taps
from .margins import init_margins
from .network_probe import NetworkProbe
from .network_taps import NetworkTaps, Tap, TapOptions, parse_taps
from .probe import inplace_modules
from .probe_inputs import list_probe_inputs
from .record_checks import check_batch_records, check_batch_sizes, check_probe_records, find_nonfinite_tap
from .tap_adapters import TapAdapters
from .token_grids import Size


@MODELS.register_module()
class LipschitzDistiller(DistillerInterface, ConfigurableDistiller):
    """A ``ConfigurableDistiller`` whose taps and losses are named once, and which checks itself before training.

    - ``taps`` names the layers of both networks; ``recorder='taps'`` in a mapping stands for all of them, in order.
    - ``losses`` names distillation methods; each is expanded by its preset into connectors, losses and mappings.
    - The ``recorder`` of a mapping may be a list; it yields a tuple of maps. A tap that yields a tuple stands for all its levels.
    - The student's taps pass adapters to the teacher's channel counts, which are determined from the two models.
    - Names, channel counts, sizes and losses are tried on a probe image when the models are attached.

    Args:
        taps (Sequence[str | dict], optional): Layers of both networks, first to last. A string is a module name, recorded by
            :class:`PreActivationRecorder`. A dict is a recorder config (``type`` defaults to ``'PreActivation'``) with the optional
            keys ``record_idx`` and ``data_idx`` for modules with several calls or outputs, ``margin``, the BN of the teacher's
            OFD margins, and ``grid``, height and width of its tokens, (h, w), or (h, w, p) with p leading tokens without a place, if
            they do not follow from the size of the images. The recorders are named ``tap0``, ``tap1``, ... Defaults to None.
        student_taps (Sequence[str | dict], optional): The student's taps, if they differ from ``taps``. Defaults to None.
        teacher_taps (Sequence[str | dict], optional): The teacher's taps, if they differ from ``taps``. Defaults to None.
        losses (Sequence[str | dict] | dict, optional): Distillation methods, see :func:`lckd_mm.models.presets.expand_distiller`.
            Defaults to None.
        adapters (bool | str | Sequence[dict | str | None]): ``'auto'``, a :class:`PointwiseAdapter` on each of the student's taps
            with a different channel count than the teacher's; True, on every tap (published); False, on none: spectral norms need no
            equal channel counts; or, per tap, ``'auto'``, None or a connector config, which receives ``in_channels`` and
            ``out_channels``. Defaults to ``'auto'``.
        probe_size (Sequence[int], optional): Height and width in pixels of the probe image. Defaults to None: 128 x 128, the size of
            the model's data preprocessor, the `img_size` of its transformer, 224 x 224 and 32 x 32 are tried one after the other.
        probe_inputs (Sequence | Mapping, optional): Shape of one input of the models, (4, 224, 224) for an image of four channels, or a
            list or dict of shapes for models of several inputs. Defaults to None, an image with as many channels as the first convolution
            of the model has, or the mean of its data preprocessor.
        student_recorders, teacher_recorders, distill_deliveries, connectors, distill_losses, loss_forward_mappings: As in
            ``ConfigurableDistiller``. A record of a mapping takes ``adapt=False`` to read a tap without its adapter.

    Attributes:
        spectral_norms (dict[str, dict[str, Tensor]]): For each loss that compares spectral norms, its latest detached inputs
            ``student`` and ``teacher``, (pairs, batch).
        nonfinite_tap (str): Clause that names the student's tap that first became non-finite; empty while all taps are finite.
        network_taps (dict[bool, NetworkTaps]): The taps of the student (True) and of the teacher (False).

    Raises:
        ConfigValueError: At construction: student and teacher have different numbers of taps, or a mapping names an unknown loss,
            argument, recorder or connector. When the models are attached: an unknown tap, a tap without a feature map, maps that
            cannot be paired, a loss that cannot be computed from them. A model that does not run on the probe image is no error; the
            same errors are then raised in the first training step.
        ConfigRuntimeError: In training: a tap of the teacher is not finite (on a GPU, one of the next steps reports it), or a tap was
            overwritten by an in-place operation.
    """

    def __init__(
        self,
        taps: Sequence[Tap] | None = None,
        student_taps: Sequence[Tap] | None = None,
        teacher_taps: Sequence[Tap] | None = None,
        losses: Sequence[str | dict] | Mapping[str, dict | None] | None = None,
        adapters: bool | str | Sequence[dict | str | None] = 'auto',
        probe_size: Sequence[int] | None = None,
        probe_inputs: Any = None,
        **kwargs: Any,
    ) -> None:
        config = dict(taps=taps, student_taps=student_taps, teacher_taps=teacher_taps, adapters=adapters, **kwargs)
        config = expand_distiller(dict(config, losses=losses))
        adapters, options = config.pop('adapters'), _pop_taps(config)
        mappings = replace_all_taps(config.pop('loss_forward_mappings', None), list(options['student']))
        for side, side_taps in options.items():
            recorders = {name: tap.recorder for name, tap in side_taps.items()}
            config[f'{side}_recorders'] = {**recorders, **(config.get(f'{side}_recorders') or {})}
        super().__init__(loss_forward_mappings=mappings, **config)
        self.adapters = TapAdapters(adapters, list(options['student']))
        self._probe = NetworkProbe(probe_size, probe_inputs)
        self._unchecked_losses: list[str] = []
        self.nonfinite_tap = ''
        self._finite_check = FiniteCheck()
        self.spectral_norms: dict[str, dict[str, Tensor]] = {}
        self.network_taps = {
            True: NetworkTaps('student', self.student_recorders, options['student']),
            False: NetworkTaps('teacher', self.teacher_recorders, options['teacher']),
        }

    def _check_loss_forward_mappings(self, losses: nn.ModuleDict, mappings: dict, student: Any, teacher: Any) -> None:
        check_mappings(mappings, losses, self.connectors, student.recorders, teacher.recorders)

    @property
    def norm_losses(self) -> list[str]:
        """Names of the losses that compare spectral norms."""
        return [name for name in self.loss_forward_mappings if reports_norms(self.distill_losses[name])]

    # Attachment to the models

    def prepare_from_student(self, model: nn.Module) -> None:
        """Attach the student's recorders and determine the shapes of its taps."""
        self._prepare(model, from_student=True)

    def prepare_from_teacher(self, model: nn.Module) -> None:
        """Attach the teacher's recorders and determine the shapes of its taps and the OFD margins."""
        self._prepare(model, from_student=False)

    def _prepare(self, model: nn.Module, from_student: bool) -> None:
        taps, inplace = self.network_taps[from_student], set(inplace_modules(model))
        taps.attach(model)
        self._probe.run(taps, list(records_of(self.loss_forward_mappings, from_student)))
        _log_side_effects(taps, inplace - set(inplace_modules(model)))
        if not from_student:
            # The checkpoint is loaded later; this call reports taps without margins before training.
            self.init_ofd_connectors(model)
        if self._probe.is_complete:
            self._unchecked_losses = check_probe_records(self, self._probe.image_size)
            self.clear()

    def reattach(self, student: nn.Module, teacher: nn.Module) -> None:
        """Register the recorders on the modules that replaced recorded ones since construction."""
        self.network_taps[True].reattach(student)
        self.network_taps[False].reattach(teacher)

    def make_teacher_stop(self, teacher: nn.Module) -> ForwardStop | None:
        """Return what ends the teacher's forward pass after its last record; None with deliveries, which may come later."""
        if self.deliveries.deliveries:
            return None
        records = records_of(self.loss_forward_mappings, from_student=False)
        return self.network_taps[False].forward_stop(teacher, records)

    def _list_probe_inputs(self, model: nn.Module) -> list[Any]:
        return list_probe_inputs(model, self._probe.size, self._probe.inputs, self._probe.image_size)

    def init_ofd_connectors(self, teacher: nn.Module) -> None:
        """Give every OFD connector the margins of its taps, from the teacher's BNs; see :func:`find_margin_bn`."""
        init_margins(self.loss_forward_mappings, self.connectors, teacher, self.network_taps[False])

    # Training

    def get_record(
        self,
        recorder: str | Sequence[str],
        from_student: bool,
        record_idx: int = 0,
        data_idx: int | None = None,
        connector: str | None = None,
        connector_idx: int | None = None,
        adapt: bool = True,
        valid_ratios: Tensor | None = None,
        image_size: Size | None = None,
    ) -> Any:
        """As in the base class; a list of recorders yields a tuple of maps, and the student's taps pass their adapters."""
        taps = self.network_taps[from_student]
        names, maps = [recorder] if isinstance(recorder, str) else recorder, []
        for name in names:
            tap_maps = taps.read_maps(name, record_idx, data_idx)
            if from_student and adapt:
                keys = taps.map_keys(name, len(tap_maps), record_idx, data_idx)
                tap_maps = self.adapters.adapt(keys, tap_maps)
            maps += tap_maps
        data = (
            _in_form_of(taps.read(recorder, record_idx, data_idx), maps) if isinstance(recorder, str) else tuple(maps)
        )
        if connector:
            record = Record(data, taps, dict(recorder=recorder, record_idx=record_idx, data_idx=data_idx))
            data = connect(self.connectors[connector], record, valid_ratios, image_size)
        return data if connector_idx is None else data[connector_idx]

    def compute_loss(self, loss_name: str, valid_ratios: Tensor | None, image_size: Size | None) -> Tensor:
        """Compute a loss of the recorded batch; arguments as in :meth:`compute_distill_losses`."""
        arguments = read_arguments(self, self.loss_forward_mappings[loss_name], valid_ratios, image_size)
        loss = self.distill_losses[loss_name]
        if reports_norms(loss):
            self.spectral_norms[loss_name] = {name: norms.detach() for name, norms in arguments.items()}
        options = {'valid_ratios': valid_ratios} if accepts_valid_ratios(loss) else {}
        return compute_in_float32(loss, {**arguments, **options})

    def compute_distill_losses(
        self, valid_ratios: Tensor | None = None, image_size: Size | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of the recorded batch, then clear the records; argument as in :class:`DistillerInterface`."""
        try:
            for taps in self.network_taps.values():
                taps.check_not_overwritten()
            if self._unchecked_losses:
                check_batch_records(self, self._unchecked_losses, image_size)
                self._unchecked_losses = []
            losses = {name: self.compute_loss(name, valid_ratios, image_size) for name in self.loss_forward_mappings}
            is_finite = self._finite_check.is_finite(losses.values())
            if is_finite:
                self.nonfinite_tap = ''
            elif is_finite is not None:
                nonfinite_tap = find_nonfinite_tap(self)
                # The first of several iterations counts.
                self.nonfinite_tap = nonfinite_tap and (self.nonfinite_tap or nonfinite_tap)
        except ValueError:
            check_batch_sizes(self.network_taps.values())
            raise
        finally:
            self._clear()
        return losses

    def clear(self) -> None:
        """Clear the records, the outputs of the adapters and the spectral norms of the last batch."""
        self._clear()
        self.spectral_norms.clear()

    def _clear(self) -> None:
        self.adapters.clear_outputs()
        for taps in self.network_taps.values():
            taps.clear()


def _pop_taps(config: dict[str, Any]) -> dict[str, dict[str, TapOptions]]:
    """Remove ``taps``, ``student_taps`` and ``teacher_taps`` from a config, and return the taps of each network."""
    for option in ('taps', 'student_taps', 'teacher_taps'):
        check_tap_list(option, config.get(option))
    common = config.pop('taps', None) or ()
    lists = {side: config.pop(f'{side}_taps', None) for side in ('student', 'teacher')}
    options = {side: parse_taps(common if taps is None else taps) for side, taps in lists.items()}
    if len(options['student']) != len(options['teacher']):
        student, teacher = ([tap.recorder.get('source') for tap in taps.values()] for taps in options.values())
        raise ConfigValueError(
            f'the student has {len(student)} taps {student} and the teacher {len(teacher)} {teacher}, but each tap of the student is '
            'compared with one of the teacher: name as many in both networks.'
        )
    return options


def _log_side_effects(taps: NetworkTaps, not_inplace: set[str]) -> None:
    if not_inplace:
        names = sorted(not_inplace)
        more = ', ...' if len(names) > 3 else ''
        print_log(
            f'{len(names)} activations of the {taps.role} ({", ".join(names[:3])}{more}) no longer compute in place, since they would '
            'overwrite recorded maps.',
            logger='current',
        )
    copied = [recorder.source for recorder in taps.manager.recorders.values() if getattr(recorder, 'copy', False)]
    if copied:
        print_log(
            f'The taps {copied} of the {taps.role} are recorded as copies, since a later in-place operation would overwrite them.',
            logger='current',
        )


def _in_form_of(record: Any, maps: Sequence[Any]) -> Any:
    """Return the maps of a record as the record has them: a single one, or several, even if these are one."""
    if not isinstance(record, (tuple, list)) or maps[0] is record:
        return maps[0]
    is_adapted = any(adapted is not feature for adapted, feature in zip(maps, record, strict=True))
    return tuple(maps) if is_adapted else record
