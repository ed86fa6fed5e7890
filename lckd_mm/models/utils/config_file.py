"""Reading of config files."""

import difflib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.utils import is_installed

from lckd_mm.dependencies import FRAMEWORKS
from lckd_mm.errors import ConfigError, ConfigFileNotFoundError, ConfigTypeError, ConfigValueError

# Links to configs, tools and the model index, which the set-up creates in a clone, and the build in a wheel.
_LINKS = Path(__file__).parents[2] / '.mim'
# mmengine reloads pkg_resources and changes other global state while it reads a config.
_READING = threading.RLock()


def read_config(path: str) -> Config:
    """Read a config file. Simultaneous threads read one after another.

    Args:
        path (str): A file, or a config of an installed package, ``'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'`` for example.

    Returns:
        Config: The config.

    Raises:
        ConfigFileNotFoundError: There is no such file or package.
        ConfigValueError: The file cannot be read.

    Example:
        >>> read_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py').model.head.num_classes
        10
    """
    with _READING:
        return _read_config(path)


def _read_config(path: str) -> Config:
    if not isinstance(path, str):
        raise ConfigTypeError(
            f'the config {path!r} is a {type(path).__name__}: give a path, or PACKAGE::PATH for a config of an installed package.'
        )
    package, colons, _ = path.partition('::')
    # mmengine would install the package from the package index.
    if colons and not is_installed(package):
        similar = difflib.get_close_matches(package, ['lckd_mm', *FRAMEWORKS], n=1)
        fix = f'did you mean {similar[0]!r}?' if similar else 'install it.'
        raise ConfigFileNotFoundError(f'config {path!r} names the package {package!r}, which is not installed: {fix}')
    if package == 'lckd_mm':
        _check_set_up(path)
    try:
        return get_config(path) if colons else Config.fromfile(path)
    except ConfigError:
        raise
    except FileNotFoundError as error:
        if f'{_LINKS}' in str(error):
            _check_set_up(path)
        reason = '' if path in str(error) else f' ({error})'
        raise ConfigFileNotFoundError(
            f'config {path!r} does not exist{reason}: give a path, or PACKAGE::PATH for a config of an installed package.'
        ) from error
    # A config is Python code, which can raise anything.
    except Exception as error:
        if 'lckd_mm' in str(error):
            _check_set_up(path)
        reason = ' '.join(str(error).split())
        raise ConfigValueError(
            f'config {path!r} cannot be read ({type(error).__name__}: {reason}): correct the file.'
        ) from error


def _check_set_up(path: str) -> None:
    """Check that the folder exists in which mmengine looks for the configs of this package."""
    if not (_LINKS / 'configs').is_dir():
        name = path.partition('::')[2] or 'demo/lckd_resnet_w16_w4_digits.py'
        raise ConfigFileNotFoundError(
            f'config {path!r} cannot be found, since this clone of lckd_mm is not set up ({str(_LINKS)!r} has no configs): run '
            f"bash tools/setup_env.sh or pip install --no-deps -e . in the clone, or name the file by its path, 'configs/{name}'."
        )


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Override values of a config by dotted key, the more general keys first.

    ``Config.merge_from_dict`` drops ``a.b`` if ``a`` follows it in the same dict.

    Args:
        config (Config): The config, which is changed.
        options (Mapping[str, Any]): New values by dotted key, in any order.

    Example:
        >>> config = Config(dict(backbone=dict(depth=50, width=64)))
        >>> merge_options(config, {'backbone.depth': 101, 'backbone': {'width': 32}})
        >>> config.backbone
        {'depth': 101, 'width': 32}
    """
    for key, value in sorted(options.items(), key=lambda option: option[0].count('.')):
        config.merge_from_dict({key: value})
