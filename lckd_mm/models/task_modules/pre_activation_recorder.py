from typing import Any, List, Optional, Tuple

from mmcv.cnn.bricks import HSwish, Swish
from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
from mmrazor.registry import TASK_UTILS
from torch import Tensor, nn

_ACTIVATIONS = (
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
    """Record a module's output as it was before the activation that ends the module.

    The paper taps a network before its ReLUs. In a ResNet that place, the residual sum, is no module's output: it is
    what the last ReLU of a stage gets. Of ``source='backbone.layer1'`` this recorder takes just that, whatever the depth
    of the stage. Where the module does not end in an activation (a BN, a convolution, a transformer stage) its output
    is recorded.

    Activations that could end the module are made not to work in place, else they would overwrite what is recorded.
    :meth:`overwritten` tells whether something after the module did.

    Args:
        source (str): Name of the module, as in ``model.named_modules()``.
        copy (bool): Whether to record a copy, which nothing can overwrite. Defaults to False.
    """

    def __init__(self, *args: Any, copy: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.copy = copy
        self._versions: List[int] = []
        self._last_activation: Optional[Tuple[Any, Any]] = None

    def prepare_from_model(self, model: Optional[nn.Module] = None) -> None:
        """Register the hooks on the source and on the activations that may end it."""
        if model is not None:
            module = dict(model.named_modules()).get(self.source)
            while isinstance(module, nn.Sequential) and len(module):
                module = module[-1]
            for activation in module.modules() if module is not None else ():
                if isinstance(activation, _ACTIVATIONS):
                    if hasattr(activation, 'inplace'):
                        activation.inplace = False
                    activation.register_forward_hook(self._note_activation)
        super().prepare_from_model(model)

    def _note_activation(self, module: nn.Module, inputs: Tuple, output: Any) -> None:
        if self.recording:
            self._last_activation = (inputs[0], output)

    def forward_hook(self, module: nn.Module, inputs: Tuple, outputs: Any) -> None:
        """Save what the module's last activation got, or the output where none made it."""
        if not self.recording:
            return
        last, self._last_activation = self._last_activation, None
        record = last[0] if last is not None and last[1] is outputs else outputs
        if isinstance(record, Tensor) and self.copy:
            record = record.clone()
        self.data_buffer.append(record)
        self._versions.append(record._version if isinstance(record, Tensor) else 0)

    def overwritten(self) -> bool:
        """Whether an operation in place has changed a record since it was made."""
        return any(isinstance(r, Tensor) and r._version != v for r, v in zip(self.data_buffer, self._versions))

    def reset_data_buffer(self) -> None:
        """Let go of the records."""
        super().reset_data_buffer()
        self._versions = []

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        """Stop recording, and let go of the last activation's tensors."""
        super().__exit__(exc_type, exc_value, traceback)
        self._last_activation = None
