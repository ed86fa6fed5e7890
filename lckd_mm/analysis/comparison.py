"""A comparison of training variants over several seeds: its parts, and how they are written in YAML and on a command line."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lckd_mm.errors import ConfigFileNotFoundError, ConfigTypeError, ConfigValueError, unknown_name

from .configs import load_config


@dataclass(frozen=True)
class Variant:
    """One of the configurations that are compared.

    Attributes:
        name: Its name in the table and the plot.
        config: The config.
        options: Overrides of the config, ``'key=value'`` each.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> 'Variant':
        """Parse ``'[NAME:] CONFIG [KEY=VALUE ...]'``.

        Args:
            text (str): The argument.

        Returns:
            Variant: The variant. The default name is the name of the config followed by the options.

        Raises:
            ConfigValueError: The text has another form.

        Example:
            >>> Variant.parse('strong: configs/a.py model.weight=2')
            Variant(name='strong', config='configs/a.py', options=('model.weight=2',))
            >>> Variant.parse('configs/a.py').name
            'a'
        """
        name, colon, rest = text.partition(': ')
        words = shlex.split(rest if colon else text)
        if not words or any('=' not in option for option in words[1:]):
            raise ConfigValueError(f'variant {text!r} cannot be read: write "[NAME:] CONFIG [KEY=VALUE ...]".')
        config, options = words[0], tuple(words[1:])
        return cls(name.strip() if colon else default_name(config, options), config, options)

    @property
    def folder(self) -> str:
        """The name as a folder name.

        Example:
            >>> Variant('LCKD + OFD, 10 %', 'a.py').folder
            'LCKD_OFD_10'
        """
        return re.sub(r'[^A-Za-z0-9.]+', '_', self.name).strip('_')


@dataclass(frozen=True)
class Teacher:
    """The teacher of the compared variants.

    Attributes:
        config: Its config.
        checkpoint: The checkpoint that the variants load; it is trained if this file does not exist.
        options: Overrides of the config, ``'key=value'`` each.
    """

    config: str
    checkpoint: Path
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how it is trained.

    Attributes:
        variants: The variants; differences refer to the first one.
        metric: Name of the metric in the log.
        seeds: The random seeds.
        train_args: Further arguments of ``train``.
        teacher: The teacher, if it is part of the comparison.
    """

    variants: tuple[Variant, ...]
    metric: str
    seeds: tuple[int, ...] = (0, 1, 2)
    train_args: tuple[str, ...] = ()
    teacher: Teacher | None = None

    def __post_init__(self) -> None:
        """Reject two variants of one name, and two names of one folder."""
        folders: dict[str, str] = {}
        for variant in self.variants:
            if variant.folder in folders:
                raise ConfigValueError(
                    f'two variants have the same name, {folders[variant.folder]!r} and {variant.name!r} (folder {variant.folder!r}): '
                    'rename one of them.'
                )
            folders[variant.folder] = variant.name


def default_name(config: str, options: Sequence[str]) -> str:
    """Return the name of a variant that has none.

    Args:
        config (str): The config.
        options (Sequence[str]): Its overrides.

    Returns:
        str: The name of the config without folder and suffix, followed by the options.

    Example:
        >>> default_name('configs/a.py', ['model.depth=1'])
        'a model.depth=1'
    """
    return ' '.join((Path(config).stem, *options))


def load_comparison(path: str | Path) -> Comparison:
    r"""Read a comparison from a YAML file.

    Args:
        path (str | Path): The file. Its keys are ``metric``, ``variants`` (each with ``config`` and optionally ``name`` and
            ``options``), and optionally ``seeds``, ``train_args`` and ``teacher`` (``config`` and optionally ``checkpoint`` and
            ``options``). The default checkpoint of the teacher is the ``teacher_ckpt`` of the variants.

    Returns:
        Comparison: The comparison.

    Raises:
        ConfigFileNotFoundError: There is no such file.
        ConfigValueError: The file is not YAML, or a value is not valid.
        ConfigTypeError: A value has a wrong type.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> text = 'metric: mIoU\nseeds: [0]\nvariants:\n- config: a.py\n- name: strong\n  config: a.py\n  options: {model.weight: 2}\n'
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, 'comparison.yml').write_text(text)
        ...     comparison = load_comparison(f'{folder}/comparison.yml')
        >>> comparison.variants[1]
        Variant(name='strong', config='a.py', options=('model.weight=2',))
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError as error:
        raise ConfigFileNotFoundError(
            f'comparison {str(path)!r} does not exist: give the path of a YAML file.'
        ) from error
    except yaml.YAMLError as error:
        raise ConfigValueError(
            f'comparison {str(path)!r} is not valid YAML: {" ".join(str(error).split())}.'
        ) from error
    try:
        return _parse_comparison(content)
    except (ConfigTypeError, ConfigValueError) as error:
        raise type(error)(f'{path}: {error}') from error


def _parse_comparison(content: Any) -> Comparison:
    _check_keys('the comparison', content, required=('metric', 'variants'), optional=('seeds', 'train_args', 'teacher'))
    variants = tuple(_parse_variant(entry) for entry in _as_list('variants', content['variants']))
    seeds = _as_list('seeds', content.get('seeds', [0, 1, 2]))
    if any(not isinstance(seed, int) or isinstance(seed, bool) for seed in seeds):
        raise ConfigTypeError(f'seeds={seeds!r} are not integers: write a list such as [0, 1, 2].')
    return Comparison(
        variants=variants,
        metric=_as_text('metric', content['metric']),
        seeds=tuple(seeds),
        train_args=tuple(shlex.split(_as_text('train_args', content.get('train_args', ''), may_be_empty=True))),
        teacher=_parse_teacher(content['teacher'], variants) if content.get('teacher') is not None else None,
    )


def _parse_variant(entry: Any) -> Variant:
    _check_keys('a variant', entry, required=('config',), optional=('name', 'options'))
    config, options = _as_text('config', entry['config']), _parse_options(entry.get('options'))
    name = entry['name'] if entry.get('name') is not None else default_name(config, options)
    return Variant(_as_text('name', name), config, options)


def _parse_teacher(entry: Any, variants: Sequence[Variant]) -> Teacher:
    _check_keys('teacher', entry, required=('config',), optional=('checkpoint', 'options'))
    config, options = _as_text('config', entry['config']), _parse_options(entry.get('options'))
    checkpoint = entry.get('checkpoint')
    path = Path(_as_text('checkpoint', checkpoint)) if checkpoint is not None else find_teacher_checkpoint(variants)
    return Teacher(config, path, options)


def find_teacher_checkpoint(variants: Sequence[Variant]) -> Path:
    """Return the teacher's checkpoint that the configs of the variants name.

    Args:
        variants (Sequence[Variant]): The variants.

    Returns:
        Path: The checkpoint.

    Raises:
        ConfigValueError: The configs name no checkpoint, or different ones.
    """
    checkpoints = {_teacher_checkpoint(variant) for variant in variants} - {None}
    if len(checkpoints) != 1:
        raise ConfigValueError(
            f'the configs of the variants name {len(checkpoints)} checkpoints of a teacher {sorted(checkpoints)}: set '
            '`checkpoint` of the teacher to the one that is to be trained.'
        )
    return Path(checkpoints.pop())


def _teacher_checkpoint(variant: Variant) -> Any:
    overrides = dict(option.split('=', 1) for option in variant.options)
    model = load_config(variant.config).get('model', {})
    return overrides.get('model.teacher_ckpt', model.get('teacher_ckpt'))


def _parse_options(options: Any) -> tuple[str, ...]:
    if options is None:
        return ()
    if not isinstance(options, Mapping):
        raise ConfigTypeError(
            f'options={options!r} is a {type(options).__name__}: write a mapping such as {{model.depth: 18}}.'
        )
    return tuple(f'{key}={_option_value(key, value)}' for key, value in options.items())


def _option_value(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        raise ConfigTypeError(
            f'option {key!r} is a mapping: write one option per value, with dotted keys such as {key}.NAME.'
        )
    return value if isinstance(value, str) else repr(value).replace(' ', '')


def _check_keys(what: str, content: Any, required: Sequence[str], optional: Sequence[str]) -> None:
    if not isinstance(content, Mapping):
        raise ConfigTypeError(
            f'{what} is {content!r}, a {type(content).__name__}: write a mapping with the keys {", ".join((*required, *optional))}.'
        )
    for key in content:
        if key not in (*required, *optional):
            raise ConfigValueError(f'in {what}, {unknown_name("key", key, (*required, *optional))}')
    for key in required:
        if content.get(key) is None:
            raise ConfigValueError(f'{what} has no {key!r}: add this key.')


def _as_list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ConfigTypeError(f'{key}={value!r} is not a list of at least one entry: write one "- ..." per entry.')
    return value


def _as_text(key: str, value: Any, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise ConfigTypeError(f'{key}={value!r} is not text: put it in quotes.')
    return value
