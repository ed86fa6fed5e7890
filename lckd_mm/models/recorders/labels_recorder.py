from mmrazor.models.task_modules.recorder import ModuleInputsRecorder
from mmrazor.registry import TASK_UTILS
from torch import nn

from lckd_mm.errors import ConfigValueError

from .logits_recorder import find_logits

_LOSS_NAMES = ('loss_module', 'loss_decode', 'loss_cls')


@TASK_UTILS.register_module()
class LabelsRecorder(ModuleInputsRecorder):
    """Record the arguments of a head's classification loss: the class scores and the labels.

    The labels are ``data_idx=1``. They exist only in a training step, so the probe run of the distiller does not fill this recorder.

    Args:
        source (str): Name of the loss module. Defaults to '', the classification loss of the head that computes the class scores:
            ``head.loss_module`` of a classifier.

    Raises:
        ConfigValueError: The head has no such loss module.
    """

    #: The distiller does not expect a record from a forward pass without annotations.
    requires_annotations = True

    def __init__(self, source: str = '') -> None:
        super().__init__(source)

    def prepare_from_model(self, model: nn.Module | None = None) -> None:
        """Select the source if none is configured, and register its hook."""
        if model is not None and not self.source:
            self._source = _find_loss(model)
        super().prepare_from_model(model)


def _find_loss(model: nn.Module) -> str:
    modules = dict(model.named_modules())
    head = find_logits(model).rpartition('.')[0]
    while head:
        for name in _LOSS_NAMES:
            if f'{head}.{name}' in modules:
                return f'{head}.{name}'
        head = head.rpartition('.')[0]
    raise ConfigValueError(
        f'{type(model).__name__} has no loss module ({", ".join(_LOSS_NAMES)}) in the head that computes the class scores, from which '
        "the labels could be recorded: use a loss without labels, 'kd' for example."
    )
