"""What a result of a comparison depends on besides its seed: fingerprints of config and teacher, versions, hardware, precision.

Results are only compared if these settings are the same, apart from the config.
"""

import hashlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import lckd_mm
from lckd_mm.dependencies import FRAMEWORKS, MMRAZOR, current_stack, find_distribution, find_version
from lckd_mm.errors import ConfigError, ConfigValueError

from .configs import load_config

Settings = dict[str, Any]

# Values that differ between machines and runs without a change of the training. Checkpoints count by their content.
_PATHS = ('work_dir', 'data_root', 'load_from', 'teacher_ckpt', 'resume', 'cfg_path')
# These describe the checkout; the content of the package counts, which `source` contains.
INFORMATION = ('commit', 'is_dirty', 'host')
_ARGUMENTS = {'--amp': 'precision', '--channels-last': 'memory layout'}


def config_fingerprint(cfg: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a resolved config without its paths.

    The config of a teacher that ``cfg_path`` names and the checkpoint of ``load_from`` count by their content.

    Args:
        cfg (Mapping[str, Any]): The config.

    Returns:
        str: The first 16 digits.

    Example:
        >>> config_fingerprint(dict(lr=1, work_dir='a')) == config_fingerprint(dict(work_dir='b', lr=1))
        True
        >>> config_fingerprint(dict(lr=1)) == config_fingerprint(dict(lr=2))
        False
    """
    text = json.dumps(_without_paths(dict(cfg)), sort_keys=True, default=_as_text)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        content = {str(key): _without_paths(entry) for key, entry in value.items() if key not in _PATHS}
        if isinstance(value.get('cfg_path'), str):
            content['content of cfg_path'] = _model_of(value['cfg_path'])
        if isinstance(value.get('load_from'), str):
            content['content of load_from'] = _content_of(value['load_from'])
        return content
    if isinstance(value, (list, tuple)):
        return [_without_paths(entry) for entry in value]
    return value


@lru_cache(maxsize=64)
def _model_of(path: str) -> Any:
    try:
        return _without_paths(load_config(path).get('model'))
    except ConfigError:
        # The training reports it.
        return path


def _as_text(value: Any) -> str:
    """Return a text for a class, a function or another object of a pure Python config, without its address."""
    if hasattr(value, '__qualname__'):
        return f'{value.__module__}.{value.__qualname__}'
    return re.sub(r' at 0x[0-9a-f]+', '', repr(value))


def file_digest(path: str | Path) -> str | None:
    """Return the SHA-256 of a file.

    Args:
        path (str | Path): The file.

    Returns:
        str, optional: The digest; None if there is no such file.
    """
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return _digest(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _digest(path: str, modified: int, size: int) -> str:
    digest = hashlib.sha256()
    with Path(path).open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def teacher_fingerprint(cfg: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of the teacher's checkpoint.

    Args:
        cfg (Mapping[str, Any]): The config of a distillation.

    Returns:
        str, optional: The digest of a file; the address of a checkpoint on the Internet; None without a teacher or a file.
    """
    checkpoint = (cfg.get('model') or {}).get('teacher_ckpt')
    return _content_of(checkpoint) if isinstance(checkpoint, str) else None


def _content_of(checkpoint: str) -> str | None:
    return checkpoint if '://' in checkpoint else file_digest(checkpoint)


def training_settings(
    config: str, options: Mapping[str, Any], train_args: Sequence[str], environment: Mapping[str, str]
) -> Settings:
    """Return the settings of a training on this machine.

    Args:
        config (str): The config.
        options (Mapping[str, Any]): Its overrides.
        train_args (Sequence[str]): Further arguments of ``train``.
        environment (Mapping[str, str]): Environment variables of the training.

    Returns:
        Settings: ``config``, ``teacher``, ``arguments``, ``precision``, ``memory layout``, ``device``, ``threads``, ``versions``,
        ``source`` (of lckd_mm), ``commit``, ``is_dirty`` and ``host``.
    """
    cfg = load_config(config, options)
    wrapper = str((cfg.get('optim_wrapper') or {}).get('type'))
    is_amp = '--amp' in train_args or 'AmpOptimWrapper' in wrapper
    return {
        'config': config_fingerprint(cfg),
        'teacher': teacher_fingerprint(cfg),
        'arguments': [argument for argument in train_args if argument not in _ARGUMENTS],
        'precision': 'mixed' if is_amp else 'float32',
        'memory layout': 'channels last' if '--channels-last' in train_args else 'contiguous',
        'device': device_name(environment.get('CUDA_VISIBLE_DEVICES')),
        'threads': int(environment.get('OMP_NUM_THREADS') or torch.get_num_threads()),
        **environment_settings(),
    }


@lru_cache(maxsize=1)
def environment_settings() -> Settings:
    """Return the settings that all trainings of a process have in common.

    Returns:
        Settings: ``versions``, ``source`` (of lckd_mm), ``commit``, ``is_dirty`` and ``host``.
    """
    commit, is_dirty = _commit()
    return {
        'versions': package_versions(),
        'source': _source_fingerprint(),
        'commit': commit,
        'is_dirty': is_dirty,
        # Distinguishes machines, without their names.
        'host': hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
    }


def package_versions() -> dict[str, str]:
    """Return the versions of Python, torch, lckd_mm and the stack.

    Returns:
        dict[str, str]: Versions by name.

    Example:
        >>> sorted(package_versions())[:2]
        ['Python', 'lckd_mm']
    """
    distributions = [distribution for distribution in map(find_distribution, FRAMEWORKS) if distribution is not None]
    names = [*(distribution.name for distribution in distributions), MMRAZOR.name, 'numpy']
    return {
        'Python': platform.python_version(),
        'torch': str(torch.__version__),
        'lckd_mm': lckd_mm.__version__,
        'stack': current_stack(),
        **{name: str(find_version(name)) for name in names},
    }


def _source_fingerprint() -> str:
    """Return a digest of the package, without the code of comparisons, which trains nothing."""
    root, digest = Path(lckd_mm.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob('*.py')):
        name = path.relative_to(root).as_posix()
        if not name.startswith(('.mim/', 'analysis/comparison', 'cli/compare')):
            digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that lckd_mm is imported from, and whether files differ from it."""
    root = Path(lckd_mm.__file__).parents[1]
    if not (root / '.git').exists():
        return None, None
    try:
        git = ['git', '-C', str(root)]
        commit = subprocess.run([*git, 'rev-parse', 'HEAD'], capture_output=True, text=True, check=True).stdout
        status = [*git, 'status', '--porcelain', '--untracked-files=no']
        return commit.strip(), bool(subprocess.run(status, capture_output=True, text=True, check=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


@lru_cache(maxsize=16)
def device_name(visible: str | None = None) -> str:
    """Return the name of the GPU, or of the CPU if there is none.

    Args:
        visible (str, optional): Value of ``CUDA_VISIBLE_DEVICES``. Defaults to None.

    Returns:
        str: The name.
    """
    if torch.cuda.is_available() and visible != '':
        # In a process of its own, since the name of a GPU initializes CUDA, which takes memory of it.
        environment = {**os.environ, **({} if visible is None else {'CUDA_VISIBLE_DEVICES': visible})}
        code = 'import torch; print(torch.cuda.get_device_name())'
        name = subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, env=environment, check=False
        )
        if name.returncode == 0:
            return name.stdout.strip()
    try:
        models = re.findall(r'^model name\s*:\s*(.+)$', Path('/proc/cpuinfo').read_text(), re.MULTILINE)
    except OSError:
        models = []
    return models[0] if models else platform.processor() or platform.machine()


def check_same_settings(results: Sequence[Mapping[str, Any]]) -> None:
    """Raise an error if results differ in more than their config, their teacher and their seed.

    Args:
        results (Sequence[Mapping[str, Any]]): The results, with ``variant``, ``seed`` and ``settings``.

    Raises:
        ConfigValueError: Two results have different settings, or two results of one seed are from different machines.
    """
    if not results:
        return
    reference = results[0]
    for result in results:
        for key in sorted({*reference['settings'], *result['settings']} - {'config', 'teacher', *INFORMATION}):
            _compare(key, reference, result, reference['settings'].get(key), result['settings'].get(key))
    first_of_seed: dict[int, Mapping[str, Any]] = {}
    for result in results:
        first = first_of_seed.setdefault(result['seed'], result)
        _compare('host', first, result, first['settings'].get('host'), result['settings'].get('host'))


def _compare(key: str, first: Mapping[str, Any], second: Mapping[str, Any], value: Any, other: Any) -> None:
    if value == other:
        return
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        for name in sorted({*value, *other}):
            _compare(f'{key}.{name}', first, second, value.get(name), other.get(name))
        return
    titles = [f'{result["variant"]!r}, seed {result["seed"]}' for result in (first, second)]
    raise ConfigValueError(
        f'results with different settings cannot be compared: {key} is {value!r} for {titles[0]} and {other!r} for {titles[1]}; '
        'continue with the settings of the earlier ones, or add --repeat, which repeats them.'
    )
