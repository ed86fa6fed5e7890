"""Patches of the OpenMMLab packages, torch, torchvision, SciPy and imagecorruptions, which let them work with current PyTorch.

One file per patched library or subsystem. Each patch states what breaks without it, for which versions, and when it can be
removed; :data:`PATCHES` contains all of them. No patched library is imported before :func:`apply`. For development,
``LCKD_DISABLE_PATCH=name,...`` disables patches.
"""

import contextlib
import io

from . import (
    data_files,
    imagecorruptions,
    mmcls,
    mmcv,
    mmdet,
    mmengine_amp,
    mmengine_build,
    mmengine_checkpoint,
    mmengine_compile,
    mmengine_config,
    mmengine_dist,
    mmengine_early_stop,
    mmengine_files,
    mmengine_hooks,
    mmengine_hub,
    mmengine_loops,
    mmengine_message_hub,
    mmengine_optim,
    mmengine_registry,
    mmengine_runner,
    mmengine_schedulers,
    mmengine_sync_bn,
    mmpretrain,
    mmrazor,
    renamed_configs,
    scipy,
    torch,
    torchvision,
)
from .mmcv import check_mmcv_ops
from .patching import DISABLE_VARIABLE, PATCHES, Patch, check_disabled_names, patch

__all__ = [
    'DISABLE_VARIABLE',
    'PATCHES',
    'Patch',
    'apply',
    'check_disabled_names',
    'check_mmcv_ops',
    'data_files',
    'imagecorruptions',
    'mmcls',
    'mmcv',
    'mmdet',
    'mmengine_amp',
    'mmengine_build',
    'mmengine_checkpoint',
    'mmengine_compile',
    'mmengine_config',
    'mmengine_dist',
    'mmengine_early_stop',
    'mmengine_files',
    'mmengine_hooks',
    'mmengine_hub',
    'mmengine_loops',
    'mmengine_message_hub',
    'mmengine_optim',
    'mmengine_registry',
    'mmengine_runner',
    'mmengine_schedulers',
    'mmengine_sync_bn',
    'mmpretrain',
    'mmrazor',
    'patch',
    'renamed_configs',
    'scipy',
    'table',
    'torch',
    'torchvision',
]


def apply() -> None:
    """Apply all patches that are needed; ``import lckd_mm`` does so. Applying twice is a no-op.

    Raises:
        ConfigValueError: ``LCKD_DISABLE_PATCH`` contains an unknown name.
        ImportError: The compiled operators of mmcv cannot be loaded.
    """
    check_disabled_names()
    # Packages of the stack onedl print what they cannot import, where the output of a command is expected.
    with contextlib.redirect_stdout(io.StringIO()):
        _apply_to('torchvision')
        # mmcv's patches import its operators, which import torchvision.
        check_mmcv_ops()
        for library in (
            'torch',
            'scipy',
            'imagecorruptions',
            'mmcv',
            'mmengine',
            'mmpretrain',
            'mmrazor',
            'mmdet',
            'mmseg',
        ):
            _apply_to(library)


def _apply_to(library: str) -> None:
    for registered in PATCHES.values():
        if registered.library == library:
            registered.apply()


def table() -> str:
    """Return all patches as text, with their state in this process."""
    rows = []
    for registered in PATCHES.values():
        state = 'applied' if registered.is_applied else 'not applied'
        rows.append(
            f'{registered.name} ({state})\n'
            f'    applies to  {registered.scope}\n'
            f'    issue       {registered.issue}\n'
            f'    without it  {registered.reason}\n'
            f'    until       {registered.until}'
        )
    return '\n'.join(rows)
