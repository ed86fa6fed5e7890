from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
from mmrazor.registry import TASK_UTILS
from torch import nn

from lckd_mm.errors import ConfigValueError


@TASK_UTILS.register_module()
class LogitsRecorder(ModuleOutputsRecorder):
    """Record the class scores of a model, one score per class.

    Without a ``source``, the recorder selects the last linear layer or convolution of the model's first head with ``num_classes``
    outputs: ``head.fc`` of a classifier. In a head of mmseg it is ``conv_seg``. Of the heads of a cascade, the last is the model's.

    Args:
        source (str): Name of the layer. Defaults to '', which selects it when the model is known.

    Raises:
        ConfigValueError: No head of the model has a layer with ``num_classes`` outputs.

    Example:
        >>> head = nn.Sequential()
        >>> head.num_classes = 3
        >>> head.fc = nn.Linear(8, 3)
        >>> recorder = LogitsRecorder()
        >>> recorder.initialize(nn.ModuleDict(dict(head=head)))
        >>> recorder.source
        'head.fc'
    """

    def __init__(self, source: str = '') -> None:
        super().__init__(source)

    def prepare_from_model(self, model: nn.Module | None = None) -> None:
        """Select the source if none is configured, and register its hook."""
        if model is not None and not self.source:
            self._source = find_logits(model)
        super().prepare_from_model(model)


def find_logits(model: nn.Module) -> str:
    """Return the name of the layer that computes the class scores of a model.

    Raises:
        ConfigValueError: There is none.
    """
    # A model can have the number of classes of its head, which is one of several: those of a segmentor are the last modules.
    for head_name, head in sorted(model.named_modules(), key=lambda item: item[1] is model):
        names = _class_layers(head_name, head)
        if names:
            parent = head_name.rpartition('.')[0]
            cascade = model.get_submodule(parent)
            if isinstance(cascade, nn.ModuleList):
                # The heads of a cascade refine the scores of one another.
                names = [
                    name
                    for index, stage in cascade.named_children()
                    for name in _class_layers(f'{parent}.{index}', stage)
                ]
            # mmseg builds it before the other layers of a head; some have further outputs of as many channels, for auxiliary losses.
            scores = [name for name in names if name.rpartition('.')[2] == 'conv_seg']
            return (scores or names)[-1]
    raise ConfigValueError(
        f'{type(model).__name__} has no head with a layer of `num_classes` outputs, from which a loss on class scores could be '
        "computed: name the layer as the loss's tap, taps=['head.fc'] for example, or use a loss on feature maps."
    )


def _class_layers(head_name: str, head: nn.Module) -> list[str]:
    """Return the names of the layers of a head with ``num_classes`` outputs."""
    num_classes = getattr(head, 'num_classes', None)
    if not isinstance(num_classes, int):
        return []
    return [
        name
        for name, layer in head.named_modules(prefix=head_name)
        if getattr(layer, 'out_features', getattr(layer, 'out_channels', None)) == num_classes
        and isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
