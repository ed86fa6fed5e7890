"""A check of the path of a checkpoint, before the file is read."""

import os
from pathlib import Path
from typing import Any

from .errors import ConfigFileNotFoundError, ConfigTypeError

_FIX = 'give the path or URL of a checkpoint'


def check_checkpoint_path(path: Any, option: str, fix: str = _FIX) -> None:
    """Check that a path names a file; URLs are not checked.

    Args:
        path (str | os.PathLike): The path.
        option (str): What it is, for the message: the name of an option, or words that end with a space.
        fix (str): The fix for a file that does not exist. Defaults to another path.

    Raises:
        ConfigTypeError: It is no path.
        ConfigFileNotFoundError: There is no such file, or it is a folder.

    Example:
        >>> check_checkpoint_path(['a.pth'], 'teacher_ckpt')
        Traceback (most recent call last):
        ...
        lckd_mm.errors.ConfigTypeError: teacher_ckpt=['a.pth'] is a list: give the path or URL of one checkpoint.
        >>> check_checkpoint_path('torchvision://resnet50', 'teacher_ckpt')
    """
    name = f'{option}{path!r}' if option.endswith(' ') else f'{option}={path!r}'
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigTypeError(f'{name} is a {type(path).__name__}: give the path or URL of one checkpoint.')
    file = Path(path).expanduser()
    if '://' in str(path) or file.is_file():
        return
    if file.is_dir():
        latest = max(file.glob('*.pth'), key=os.path.getmtime, default=None)
        example = f'{str(latest)!r} for example' if latest else 'it contains none that ends in .pth'
        raise ConfigFileNotFoundError(f'{name} is a folder: give the path of a checkpoint, {example}.')
    raise ConfigFileNotFoundError(f'{name} does not exist (working directory: {str(Path.cwd())!r}): {fix}.')
