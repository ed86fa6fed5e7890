from collections.abc import Iterator
from typing import Any

import torch
from mmrazor.models.distillers import ConfigurableDistiller, OFDDistiller
from mmrazor.models.task_modules import ModuleInputsRecorder, ModuleOutputsRecorder
from torch import Tensor, nn

from ..recorders import ForwardStop, stop_after_records
from .mappings import records_of
from .probe_inputs import list_probe_inputs, make_inputs


class DistillerInterface:
    """What :class:`LipschitzDistill` and the hooks use of a distiller. The defaults are those of a distiller without taps."""

    @property
    def norm_losses(self) -> list[str]:
        """Names of the losses that compare spectral norms."""
        return []

    def reattach(self, student: nn.Module, teacher: nn.Module) -> None:
        """Register the recorders on the modules that replaced recorded ones since construction."""

    def make_teacher_stop(self, teacher: nn.Module) -> ForwardStop | None:
        """Return what ends the teacher's forward pass after its last record; None if it has to run to its end."""
        return None

    def make_random_inputs(self, model: nn.Module) -> Iterator[Any]:
        """Yield the inputs that a probe of a model tries one after the other, filled with random numbers of seed 0."""
        for inputs in self._list_probe_inputs(model):
            yield make_inputs(inputs, model, torch.Generator().manual_seed(0))

    def _list_probe_inputs(self, model: nn.Module) -> list[Any]:
        return list_probe_inputs(model, None, None, None)

    def init_ofd_connectors(self, teacher: nn.Module) -> None:
        """Compute what depends on the loaded weights of the teacher."""

    def clear(self) -> None:
        """Clear the records and the results of the last batch."""

    def compute_distill_losses(
        self, valid_ratios: Tensor | None = None, image_size: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of the recorded batch.

        Args:
            valid_ratios (Tensor, optional): (B, 2), the share of height and width of each image that is not padding, which would shift
                spectral norms by more than images differ (docs/experiments.md). It is passed to the connectors and losses that accept
                it; for the others padding counts. Defaults to None, no padding.
            image_size (tuple[int, int], optional): Height and width in pixels of the images of the batch, from which the height and
                width of token maps follow. Defaults to None, unknown.
        """
        raise NotImplementedError


class _StockDistiller(DistillerInterface):
    """The interface of a distiller of MMRazor, which knows nothing of it."""

    def __init__(self, distiller: ConfigurableDistiller) -> None:
        self._distiller = distiller

    def make_teacher_stop(self, teacher: nn.Module) -> ForwardStop | None:
        distiller = self._distiller
        # The losses of other classes may read more than their mappings say; deliveries may come later.
        if type(distiller) not in (ConfigurableDistiller, OFDDistiller) or distiller.deliveries.deliveries:
            return None
        counts: dict[str, int] = {}
        for name, record in records_of(distiller.loss_forward_mappings, from_student=False):
            counts[name] = max(counts.get(name, 0), record.get('record_idx', 0) + 1)
        recorders = distiller.teacher_recorders.recorders
        # Functions, methods and parameters are recorded at any time.
        if not all(isinstance(recorders[name], (ModuleInputsRecorder, ModuleOutputsRecorder)) for name in counts):
            return None
        return stop_after_records(teacher, recorders, counts)

    def init_ofd_connectors(self, teacher: nn.Module) -> None:
        # MMRazor's OFDDistiller has the method as well; the base class has not.
        init = getattr(self._distiller, 'init_ofd_connectors', None)
        if init is not None:
            init(teacher)

    def clear(self) -> None:
        for manager in (self._distiller.student_recorders, self._distiller.teacher_recorders):
            for recorder in manager.recorders.values():
                recorder.reset_data_buffer()

    def compute_distill_losses(
        self, valid_ratios: Tensor | None = None, image_size: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        return self._distiller.compute_distill_losses()


def get_distiller_interface(distiller: nn.Module) -> DistillerInterface:
    """Return the distiller itself if it declares the interface, else a wrapper with the defaults."""
    return distiller if isinstance(distiller, DistillerInterface) else _StockDistiller(distiller)
