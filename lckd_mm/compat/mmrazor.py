"""Patch of mmrazor."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator

import torch

from .patching import patch

# Modules that mmrazor imports and that may depend on the version of torch: they are imported before it. They include the
# modules by which the OpenMMLab packages register their classes.
_IMPORTED_BY_MMRAZOR = (
    'mmcv.cnn',
    'mmcv.ops',
    'mmcv.transforms',
    'mmengine.hub',
    'mmengine.runner',
    'mmengine.visualization',
    *(
        f'{package}.{part}'
        for package in ('mmdet', 'mmseg', 'mmpretrain')
        for part in ('datasets', 'engine', 'evaluation', 'models', 'structures', 'visualization')
    ),
    'torch.ao.quantization.quantize_fx',
    'torch.fx',
    'torch.nn.quantized._reference',
    'torch.utils.tensorboard',
)

# The parts of mmrazor that register classes, or that those import later.
_PARTS = ('datasets', 'engine', 'implementations', 'models', 'registry', 'structures', 'utils', 'visualization')


@patch(
    library='mmrazor',
    versions='<=1.0.0',
    issue='open-mmlab/mmrazor#632',
    reason='mmrazor cannot be imported: with torch 1.13 or newer it imports names of torch.ao.quantization that torch 2 removed',
    until='an mmrazor after 1.0.0 supports torch 2',
)
def mmrazor_import() -> None:
    """Import mmrazor completely while torch reports version 1.12.0, for which mmrazor uses placeholders of these names.

    The distillation half of mmrazor does not use them. Nothing else is imported meanwhile.
    """
    for name in _IMPORTED_BY_MMRAZOR:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    with _reported_torch_version('1.12.0'), warnings.catch_warnings():
        # Python 3.12 and newer warn about escape sequences in mmrazor's docstrings.
        warnings.simplefilter('ignore', SyntaxWarning)
        for part in _PARTS:
            importlib.import_module(f'mmrazor.{part}')


@contextlib.contextmanager
def _reported_torch_version(version: str) -> Iterator[None]:
    """Let ``torch.__version__`` be another version within the context."""
    actual = torch.__version__
    torch.__version__ = type(actual)(version)
    try:
        yield
    finally:
        torch.__version__ = actual
