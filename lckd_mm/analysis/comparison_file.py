"""The YAML file of a comparison."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lckd_mm.errors import ConfigFileNotFoundError, ConfigTypeError, ConfigValueError, unknown_name

from .comparison import Comparison, Teacher, Variant, default_name
from .comparison_corruptions import Robustness
from .configs import load_config, parse_options
from .option_values import format_value

_REQUIRED = ('metric', 'variants')
_OPTIONAL = (
    'seeds', 'train_args', 'teacher', 'primary', 'lower_is_better', 'select_on', 'report_on', 'select_options', 'report_options',
    'screening', 'confirm_best_of', 'robustness',
)  # fmt: skip


def load_comparison(path: str | Path) -> Comparison:
    r"""Read a comparison from a YAML file.

    Args:
        path (str | Path): The file. Its keys are those of :class:`Comparison`; ``metric`` and ``variants`` are required. A variant
            has the keys ``config``, ``name``, ``options``, ``grid``, ``against``, ``inherits_grid`` and ``group``, of which only
            ``config`` is required. ``screening`` has the keys ``seeds`` and ``options``. ``robustness`` has the keys of
            :class:`Robustness`. ``teacher`` has the keys ``config``,
            ``checkpoint`` and ``options``; its default checkpoint is the ``teacher_ckpt`` of the variants.

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
        >>> comparison.variants[1].name, comparison.variants[1].options
        ('strong', ('model.weight=2',))
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
    _check_keys('the comparison', content, required=_REQUIRED, optional=_OPTIONAL)
    variants = tuple(_parse_variant(entry) for entry in _as_list('variants', content['variants']))
    screening = content.get('screening')
    if screening is not None:
        _check_keys('screening', screening, required=('seeds',), optional=('options',))
    return Comparison(
        variants=variants,
        metric=_as_text('metric', content['metric']),
        seeds=_parse_integers('seeds', content.get('seeds', [0, 1, 2])),
        train_args=tuple(shlex.split(_as_text('train_args', content.get('train_args', ''), may_be_empty=True))),
        teacher=_parse_teacher(content['teacher'], variants) if content.get('teacher') is not None else None,
        lower_is_better=_as_bool('lower_is_better', content.get('lower_is_better', False)),
        primary=_parse_primary(content.get('primary')),
        select_on=_as_text('select_on', content.get('select_on', 'val')),
        report_on=_as_optional_text('report_on', content.get('report_on')),
        select_options=_parse_options(content.get('select_options')),
        report_options=_parse_options(content.get('report_options')),
        screening_seeds=() if screening is None else _parse_integers('screening.seeds', screening['seeds']),
        screening_options=() if screening is None else _parse_options(screening.get('options')),
        confirm_best_of=_as_optional_text('confirm_best_of', content.get('confirm_best_of')),
        robustness=_parse_robustness(content.get('robustness')),
    )


def _parse_robustness(entry: Any) -> Robustness:
    if entry is None:
        return Robustness()
    _check_keys('robustness', entry, required=(), optional=('corruptions', 'severities', 'metrics', 'options'))
    default = Robustness()

    def texts(key: str) -> tuple[str, ...]:
        title = f'robustness.{key}'
        return tuple(_as_text(title, value) for value in _as_list(title, entry[key]))

    return Robustness(
        corruptions=texts('corruptions') if 'corruptions' in entry else default.corruptions,
        severities=_parse_integers('robustness.severities', entry.get('severities', list(default.severities))),
        metrics=texts('metrics') if 'metrics' in entry else (),
        options=_parse_options(entry.get('options')),
    )


def _parse_integers(key: str, value: Any) -> tuple[int, ...]:
    seeds = _as_list(key, value)
    if any(not isinstance(seed, int) or isinstance(seed, bool) for seed in seeds):
        raise ConfigTypeError(f'{key}={seeds!r} are not integers: write a list such as [0, 1, 2].')
    if len(set(seeds)) < len(seeds):
        raise ConfigValueError(f'{key}={seeds!r} contains a number twice: write each once.')
    return tuple(seeds)


def _parse_primary(value: Any) -> tuple[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(name, str) for name in value):
        raise ConfigTypeError(f'primary={value!r} is not a pair of names: write [VARIANT, REFERENCE].')
    return value[0], value[1]


def _parse_variant(entry: Any) -> Variant:
    optional = ('name', 'options', 'grid', 'against', 'inherits_grid', 'group')
    _check_keys('a variant', entry, required=('config',), optional=optional)
    config, options = _as_text('config', entry['config']), _parse_options(entry.get('options'))
    name = entry['name'] if entry.get('name') is not None else default_name(config, options)
    return Variant(
        _as_text('name', name),
        config,
        options,
        grid=_parse_grid(entry.get('grid')),
        against=_as_optional_text('against', entry.get('against')),
        inherits_grid=_as_bool('inherits_grid', entry.get('inherits_grid', False)),
        group=_as_optional_text('group', entry.get('group')),
    )


def _parse_grid(grid: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if grid is None:
        return ()
    if not isinstance(grid, Mapping):
        raise ConfigTypeError(
            f'grid={grid!r} is a {type(grid).__name__}: write a mapping such as {{model.loss.weight: [0.5, 1]}}.'
        )
    return tuple(
        (key, tuple(_option_value(key, value) for value in _as_list(f'grid.{key}', values)))
        for key, values in grid.items()
    )


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
    model = load_config(variant.config).get('model', {})
    return parse_options(variant.options).get('model.teacher_ckpt', model.get('teacher_ckpt'))


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
    return format_value(value)


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


def _as_optional_text(key: str, value: Any) -> str | None:
    return None if value is None else _as_text(key, value)


def _as_bool(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigTypeError(f'{key}={value!r} is not a boolean: write true or false.')
    return value
