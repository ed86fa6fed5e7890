from collections.abc import Callable
from typing import Any

import torch
from mmcv.cnn.bricks import HSwish, Swish
from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
from mmrazor.registry import TASK_UTILS
from torch import Tensor, nn

from ..utils.tensors import find_tensors

ACTIVATIONS = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.RReLU,
    nn.SELU,
    nn.SiLU,
    nn.Softplus,
    HSwish,
    Swish,
)


@TASK_UTILS.register_module()
class PreActivationRecorder(ModuleOutputsRecorder):
    """Record the output of a module before its last activation.

    The paper taps a network before its ReLUs. In a ResNet this tensor is the residual sum, which is the input of the last ReLU of
    a stage and the output of no module. With ``source='backbone.layer1'`` this recorder stores the residual sum for any depth of
    the stage. If the module does not end in an activation (a BN, a convolution, a transformer stage), its output is recorded.
    Of a tuple or list, such as the branches of an HRNet, each tensor is recorded before its own activation.

    In-place computation is switched off in the activations that may end the module, since they would overwrite the recorded
    tensor. :meth:`overwritten` reports whether a later in-place operation did.

    Args:
        source (str): Name of the module, as in ``model.named_modules()``.
        copy (bool): Whether to record a copy, which no operation can overwrite. Defaults to False.

    Source:
        Paper, section 4.1: taps at BN outputs before the ReLU; OFD (ICCV 2019), section 3.1.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
        >>> recorder = PreActivationRecorder('1')
        >>> recorder.initialize(model)
        >>> with recorder:
        ...     output = model(torch.tensor([[-1.0, 1.0]]))
        >>> bool((recorder.get_record_data().relu() == output).all())
        True
    """

    is_pre_activation = True

    def __init__(self, source: str, copy: bool = False) -> None:
        super().__init__(source)
        self.copy = copy
        # The counters of the tensors of each record.
        self._versions: list[list[int]] = []
        self._activations: list[tuple[nn.Module, Any, Any]] = []
        # The activations that yield the tensors of a tuple; None until the first forward pass, `()` if the module yields one tensor.
        self._final: tuple[nn.Module, ...] | None = None

    def prepare_from_model(self, model: nn.Module | None = None) -> None:
        """Register the hooks on the source and on the activations that may end it."""
        if model is not None:
            module = dict(model.named_modules()).get(self.source)
            while isinstance(module, nn.Sequential) and len(module):
                module = module[-1]
            for activation in module.modules() if module is not None else ():
                if isinstance(activation, ACTIVATIONS):
                    if hasattr(activation, 'inplace'):
                        activation.inplace = False
                    activation.register_forward_hook(self._note_activation)
        super().prepare_from_model(model)

    def _note_activation(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        if not self.recording:
            return
        if self._final is not None:
            # The input of an activation takes memory that the network itself releases, so no others are kept.
            if self._final and not any(module is final for final in self._final):
                return
            if not self._final:
                self._activations.clear()
        self._activations.append((module, inputs[0], output))

    def forward_hook(self, module: nn.Module, inputs: tuple, outputs: Any) -> None:
        """Store the input of the module's last activation, or the module's output if no activation produced it."""
        if not self.recording:
            return
        activations, self._activations = self._activations, []
        if type(outputs) in (tuple, list):
            record: Any = type(outputs)(_before(output, activations) for output in outputs)
            if self._final is None:
                final = [module for module, _, output in activations if any(output is other for other in outputs)]
                self._final = tuple(final)
        else:
            record = _before(outputs, activations[-1:])
            self._final = ()
        if self.copy:
            record = _convert_tensors(record, torch.clone)
        self.data_buffer.append(record)
        # The output of a compiled function has another counter than the tensor in it.
        self._versions.append([] if torch.compiler.is_compiling() else _versions(record))

    def overwritten(self) -> bool:
        """Return whether an in-place operation has changed a record since it was stored."""
        return any(versions and _versions(r) != versions for r, versions in zip(self.data_buffer, self._versions))

    def convert_records(self, convert: Callable[[Any], Any]) -> None:
        """Replace each record by a function of it; an overwritten record stays, so that it is reported."""
        for index, (record, versions) in enumerate(zip(self.data_buffer, self._versions)):
            if not versions or _versions(record) == versions:
                self.data_buffer[index] = converted = convert(record)
                self._versions[index] = _versions(converted) if versions else []

    def reset_data_buffer(self) -> None:
        """Clear the recorded tensors."""
        super().reset_data_buffer()
        self._versions = []

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        self._activations = []


def _versions(record: Any) -> list[int]:
    return [tensor._version for tensor in find_tensors(record)]


def _convert_tensors(record: Any, convert: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(record, Tensor):
        return convert(record)
    if type(record) in (tuple, list):
        return type(record)(_convert_tensors(entry, convert) for entry in record)
    return record


def _before(output: Any, activations: list[tuple[nn.Module, Any, Any]]) -> Any:
    """Return the input of the activation that yields an output; without one, the output."""
    return next((before for _, before, after in reversed(activations) if after is output), output)
