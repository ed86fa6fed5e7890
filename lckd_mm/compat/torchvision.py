"""Patch of torchvision."""

import sys

import torch

from .patching import patch

_LIBRARIES: list[torch.library.Library] = []
"""Operator definitions disappear with their library object."""


@patch(
    library='torchvision',
    versions='>=0.21',
    issue='pytorch/pytorch#122494',
    reason="importing torchvision fails with 'operator torchvision::nms does not exist' where its compiled operators do not "
    "load, for example PyPI's CUDA build with a CPU-only torch",
    until='torchvision can be imported without its compiled operators (0.28 cannot)',
)
def torchvision_import() -> None:
    """Declare the operators of which torchvision registers the shapes at import.

    No OpenMMLab package uses them for the tasks of this project: the declarations need no implementation.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if 'operator torchvision::' not in str(error):
            raise
    else:
        return
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]
    library = torch.library.Library('torchvision', 'DEF')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    _LIBRARIES.append(library)
    import torchvision  # noqa: F401  (the second attempt)
