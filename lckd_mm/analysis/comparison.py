"""A comparison of training variants over several seeds: its parts and what they must satisfy."""

import itertools
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lckd_mm.errors import ConfigValueError, unknown_name

from .comparison_corruptions import Robustness

SPLITS = ('val', 'test')


@dataclass(frozen=True)
class Variant:
    """One of the configurations that are compared.

    Attributes:
        name: Its name in the table and the plot.
        config: The config.
        options: Overrides of the config, ``'key=value'`` each.
        grid: Options with several values, from which the screening chooses.
        against: Name of another variant that this one is compared with, besides the baseline.
        inherits_grid: Whether the values that the screening chose for ``against`` are options of this variant as well.
        group: Name of a group of variants of which only the best is confirmed.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    grid: tuple[tuple[str, tuple[str, ...]], ...] = ()
    against: str | None = None
    inherits_grid: bool = False
    group: str | None = None

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
            >>> variant = Variant.parse('strong: configs/a.py model.weight=2')
            >>> variant.name, variant.config, variant.options
            ('strong', 'configs/a.py', ('model.weight=2',))
            >>> Variant.parse('configs/a.py').name
            'a'
        """
        name, colon, rest = text.partition(': ')
        words = shlex.split(rest if colon else text)
        if not words or any('=' not in option for option in words[1:]):
            raise ConfigValueError(f'variant {text!r} cannot be read: write "[NAME:] CONFIG [KEY=VALUE ...]".')
        config, options = words[0], tuple(words[1:])
        return cls(name.strip() if colon else default_name(config, options), config, options)

    def grid_values(self) -> list[tuple[str, ...]]:
        """Return the options of each point of the grid; one point without options if there is no grid.

        Returns:
            list[tuple[str, ...]]: The product of the values of all keys.

        Example:
            >>> Variant('a', 'a.py', grid=(('lr', ('1', '2')), ('depth', ('3',)))).grid_values()
            [('lr=1', 'depth=3'), ('lr=2', 'depth=3')]
        """
        return list(itertools.product(*([f'{key}={value}' for value in values] for key, values in self.grid)))

    @property
    def folder(self) -> str:
        """The name as a folder name.

        Example:
            >>> Variant('LCKD + OFD, 10 %', 'a.py').folder
            'LCKD_OFD_10'
        """
        return as_folder(self.name)


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
    """What is compared, and how it is trained and evaluated.

    Attributes:
        variants: The variants; the first one is the baseline.
        metric: Name of the metric in the log.
        seeds: The random seeds of the confirmation.
        train_args: Further arguments of ``train``.
        teacher: The teacher, if it is part of the comparison.
        lower_is_better: Whether a smaller metric is better.
        primary: Names of variant and reference of the primary comparison. None: the first two variants, or with
            ``confirm_best_of`` the first variant against the best of the group.
        select_on: Split whose metric selects: ``'val'`` or ``'test'``, a data loader of the configs.
        report_on: Split whose metric is reported. None: ``'test'`` if all configs have a ``test_dataloader``.
        select_options: Overrides of the configs in all trainings, of ``val_dataloader`` for example.
        report_options: Overrides of the configs in the evaluation on the split that is reported.
        screening_seeds: The random seeds of the screening.
        screening_options: Overrides of the configs in the trainings of the screening, of their length for example.
        confirm_best_of: The group of which only the best variant is confirmed.
        robustness: The evaluation on corrupted images.
    """

    variants: tuple[Variant, ...]
    metric: str
    seeds: tuple[int, ...] = (0, 1, 2)
    train_args: tuple[str, ...] = ()
    teacher: Teacher | None = None
    lower_is_better: bool = False
    primary: tuple[str, str] | None = None
    select_on: str = 'val'
    report_on: str | None = None
    select_options: tuple[str, ...] = ()
    report_options: tuple[str, ...] = ()
    screening_seeds: tuple[int, ...] = ()
    screening_options: tuple[str, ...] = ()
    confirm_best_of: str | None = None
    robustness: Robustness = field(default_factory=Robustness)

    def __post_init__(self) -> None:
        """Reject names, seeds and splits that do not fit together."""
        _check_folders(self.variants)
        for variant in self.variants:
            _check_reference(variant, self.variants)
        if self.primary is not None:
            self._check_primary(self.primary)
        for key, split in (('select_on', self.select_on), ('report_on', self.report_on or 'val')):
            if split not in SPLITS:
                raise ConfigValueError(unknown_name(key, split, SPLITS))
        for key, seeds in (('seeds', self.seeds), ('screening seeds', self.screening_seeds)):
            if len(set(seeds)) < len(seeds):
                raise ConfigValueError(f'{key} {list(seeds)} contain a number twice: write each once.')
        if self.report_options and self.report_on == 'val':
            raise ConfigValueError(
                'report_options has no effect with report_on=\'val\', the evaluation of the training: set report_on to "test".'
            )
        self._check_screening()

    def _check_primary(self, primary: tuple[str, str]) -> None:
        for name in primary:
            if name not in self.names:
                raise ConfigValueError(f'in primary, {unknown_name("variant", name, self.names)}')
        if primary[0] == primary[1]:
            raise ConfigValueError(f'primary compares {primary[0]!r} with itself: name two variants.')

    def _check_screening(self) -> None:
        groups = {variant.group for variant in self.variants if variant.group is not None}
        if self.confirm_best_of is not None and self.confirm_best_of not in groups:
            raise ConfigValueError(f'in confirm_best_of, {unknown_name("group", self.confirm_best_of, sorted(groups))}')
        if self.confirm_best_of is not None and self.variants[0].group == self.confirm_best_of:
            raise ConfigValueError(
                f'the first variant, {self.variants[0].name!r}, is the baseline and always confirmed: remove its group.'
            )
        screened = [v.name for v in self.variants if v.grid or (v.group and v.group == self.confirm_best_of)]
        if screened and not self.screening_seeds:
            raise ConfigValueError(
                f'{screened} are screened, but there are no seeds for it: add "screening: {{seeds: [100, 101]}}".'
            )
        common = sorted(set(self.seeds) & set(self.screening_seeds))
        if screened and common:
            raise ConfigValueError(
                f'the seeds {common} are used for the screening and for the confirmation, which must be independent: use other seeds.'
            )

    @property
    def names(self) -> list[str]:
        """The names of the variants."""
        return [variant.name for variant in self.variants]

    def training_options(self, options: Sequence[str], stage: str) -> tuple[str, ...]:
        """Return all overrides of a training: those of its stage, then those of its setting.

        Args:
            options (Sequence[str]): Overrides of the setting.
            stage (str): ``'screening'`` or ``'confirmation'``.

        Returns:
            tuple[str, ...]: ``'key=value'`` each.

        Example:
            >>> comparison = Comparison((Variant('a', 'a.py'),), 'acc', screening_options=('epochs=2',))
            >>> comparison.training_options(['depth=1'], 'screening'), comparison.training_options(['depth=1'], 'confirmation')
            (('epochs=2', 'depth=1'), ('depth=1',))
        """
        return (*self.select_options, *(self.screening_options if stage == 'screening' else ()), *options)

    def variant(self, name: str) -> Variant:
        """Return a variant by its name."""
        return self.variants[self.names.index(name)]


def _check_folders(variants: Sequence[Variant]) -> None:
    folders: dict[str, str] = {}
    for variant in variants:
        if variant.folder in folders:
            raise ConfigValueError(
                f'two variants have the same name, {folders[variant.folder]!r} and {variant.name!r} (folder {variant.folder!r}): '
                'rename one of them.'
            )
        folders[variant.folder] = variant.name


def _check_reference(variant: Variant, variants: Sequence[Variant]) -> None:
    """Check that ``against`` names another variant, and that a chain of references ends."""
    by_name = {other.name: other for other in variants}
    visited = [variant.name]
    current = variant
    while current.against is not None:
        if current.against not in by_name:
            raise ConfigValueError(f'in variant {current.name!r}, {unknown_name("against", current.against, by_name)}')
        if current.against in visited:
            raise ConfigValueError(
                f'variant {current.against!r} is compared with itself ({" against ".join([*visited, current.against])}): correct `against`.'
            )
        current = by_name[current.against]
        visited.append(current.name)
    if variant.inherits_grid and variant.against is None:
        raise ConfigValueError(
            f'variant {variant.name!r} inherits a grid, but from no variant: set `against` to the name of that variant.'
        )


def as_folder(text: str) -> str:
    """Return a text as a folder name.

    Args:
        text (str): The text.

    Returns:
        str: The text in which other characters than letters, digits, dots and hyphens are underscores.

    Example:
        >>> as_folder('a b=-1')
        'a_b_-1'
    """
    return re.sub(r'[^A-Za-z0-9.-]+', '_', text).strip('_')


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
