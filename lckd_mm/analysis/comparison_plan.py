"""The stages of a comparison: which settings are screened, which are chosen, and which runs are missing.

The screening trains every point of a variant's grid with the screening seeds and chooses the point with the best mean of the
selection metric. The confirmation trains the chosen points with other seeds.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from .comparison import Comparison, Variant, as_folder

STAGES = ('screening', 'confirmation')


@dataclass(frozen=True)
class Setting:
    """A variant with values for its grid and for the grid that it inherits.

    Attributes:
        variant: The variant.
        values: The values, ``'key=value'`` each.
    """

    variant: Variant
    values: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """All overrides of the config."""
        return (*self.variant.options, *self.values)

    @property
    def title(self) -> str:
        """The name with the last part of the key of each value.

        Example:
            >>> Setting(Variant('LCKD', 'a.py'), ('model.loss.weight=2',)).title
            'LCKD (weight=2)'
        """
        values = ', '.join(_short(value) for value in self.values)
        return f'{self.variant.name} ({values})' if values else self.variant.name


def _short(value: str) -> str:
    key, _, number = value.partition('=')
    return f'{key.rpartition(".")[2]}={number}'


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        setting: The setting.
        seed: The random seed.
        stage: ``'screening'`` or ``'confirmation'``.
    """

    setting: Setting
    seed: int
    stage: str = 'confirmation'

    @property
    def title(self) -> str:
        """A title for messages."""
        name = self.setting.title if self.stage == 'screening' else self.setting.variant.name
        return f'{name}, seed {self.seed}'

    @property
    def folder(self) -> str:
        """The work directory in the folder of the comparison.

        Example:
            >>> Run(Setting(Variant('A', 'a.py'), ('lr=1',)), 100, 'screening').folder
            'screening/A/lr_1/seed100'
            >>> Run(Setting(Variant('A', 'a.py'), ('lr=1',)), 0).folder
            'runs/A/seed0'
        """
        if self.stage == 'confirmation':
            return f'runs/{self.setting.variant.folder}/seed{self.seed}'
        values = as_folder('_'.join(map(_short, self.setting.values))) or 'default'
        return f'screening/{self.setting.variant.folder}/{values}/seed{self.seed}'


# The selection metric of a run; None if the run is missing.
Lookup = Callable[[Run], float | None]


@dataclass
class Plan:
    """The state of a comparison.

    Attributes:
        screened: The selection metric of each setting that is screened, by seed; None where it is missing.
        chosen: The setting of each variant whose choice is known.
        best: The best variant of the group; None if there is no group, or while it is not known.
        confirmed: The settings that are confirmed, as far as they are known.
        missing_screening: Runs that the screening needs next. Choices depend on them, so that further ones may follow.
        missing_confirmation: Runs that the confirmation needs, one seed after another.
    """

    screened: dict[Setting, dict[int, float | None]] = field(default_factory=dict)
    chosen: dict[str, Setting] = field(default_factory=dict)
    best: Variant | None = None
    confirmed: list[Setting] = field(default_factory=list)
    missing_screening: list[Run] = field(default_factory=list)
    missing_confirmation: list[Run] = field(default_factory=list)

    @property
    def is_screened(self) -> bool:
        """Whether all choices are made."""
        return not self.missing_screening


def make_plan(comparison: Comparison, lookup: Lookup) -> Plan:
    """Determine choices and missing runs from the finished runs.

    Args:
        comparison (Comparison): The comparison.
        lookup (Lookup): Returns the selection metric of a run, or None if it is missing.

    Returns:
        Plan: The plan.

    Example:
        >>> variants = (Variant('a', 'a.py'), Variant('b', 'b.py', grid=(('lr', ('1', '2')),)))
        >>> comparison = Comparison(variants, 'acc', seeds=(0, 1), screening_seeds=(9,))
        >>> [run.title for run in make_plan(comparison, lambda run: None).missing_screening]
        ['b (lr=1), seed 9', 'b (lr=2), seed 9']
        >>> plan = make_plan(comparison, lambda run: {('lr=1',): 0.5, ('lr=2',): 0.7}.get(run.setting.values))
        >>> plan.chosen['b'].title, len(plan.missing_confirmation)
        ('b (lr=2)', 2)
    """
    return _Planner(comparison, lookup).plan


def screening_sentence(comparison: Comparison, plan: Plan) -> str:
    """Say what the screening chose and what is therefore confirmed.

    Args:
        comparison (Comparison): The comparison.
        plan (Plan): Its plan, with all choices made.

    Returns:
        str: The sentence.

    Example:
        >>> variants = (Variant('a', 'a.py'), Variant('b', 'b.py', grid=(('lr', ('1', '2')),)))
        >>> comparison = Comparison(variants, 'acc', seeds=(0, 1), screening_seeds=(9,))
        >>> screening_sentence(comparison, make_plan(comparison, lambda run: 0.5))
        'The screening is complete; the confirmation trains a, b (lr=1).'
    """
    result = (
        'is complete' if plan.best is None else f'chose {plan.best.name} as the best of {comparison.confirm_best_of}'
    )
    return f'The screening {result}; the confirmation trains {", ".join(setting.title for setting in plan.confirmed)}.'


class _Planner:
    """Choices depend on each other: those of a variant on its reference, those against a group on the best of the group."""

    def __init__(self, comparison: Comparison, lookup: Lookup) -> None:
        self.comparison = comparison
        self.lookup = lookup
        self.group = [v for v in comparison.variants if v.group and v.group == comparison.confirm_best_of]
        self.plan = Plan()
        # The settings of the group are in the order of the file, before those that depend on them.
        self.plan.best = self._best_of_group()
        confirmed = [variant for variant in comparison.variants if self._is_confirmed(variant)]
        settings = [self._choose(variant) for variant in confirmed]
        self.plan.confirmed = [setting for setting in settings if setting is not None]
        missing = dict.fromkeys(self.plan.missing_screening)
        self.plan.missing_screening = sorted(missing, key=lambda run: comparison.screening_seeds.index(run.seed))
        runs = (Run(setting, seed) for seed in comparison.seeds for setting in self.plan.confirmed)
        self.plan.missing_confirmation = [run for run in runs if lookup(run) is None]

    def _best_of_group(self) -> Variant | None:
        settings = [self._choose(variant) for variant in self.group]
        known = [setting for setting in settings if setting is not None]
        return self._best(known).variant if known and len(known) == len(settings) else None

    def _is_confirmed(self, variant: Variant) -> bool:
        """Only the best of the group, and what is compared with the best, is confirmed; what is outside of the group always is."""
        member: Variant | None = variant
        while member is not None and member not in self.group:
            member = None if member.against is None else self.comparison.variant(member.against)
        return member is None or member is self.plan.best

    def _choose(self, variant: Variant) -> Setting | None:
        """Return the chosen setting of a variant; note what is missing, and return None, if it is not known yet."""
        if variant.name in self.plan.chosen:
            return self.plan.chosen[variant.name]
        inherited: tuple[str, ...] = ()
        if variant.inherits_grid and variant.against is not None:
            reference = self._choose(self.comparison.variant(variant.against))
            if reference is None:
                return None
            inherited = reference.values
        settings = [Setting(variant, (*inherited, *values)) for values in variant.grid_values()]
        if variant.grid or variant in self.group:
            complete = [self._screen(setting) for setting in settings]
            if not all(complete):
                return None
            self.plan.chosen[variant.name] = self._best(settings)
        else:
            self.plan.chosen[variant.name] = settings[0]
        return self.plan.chosen[variant.name]

    def _screen(self, setting: Setting) -> bool:
        """Look up the selection metric of a setting, and return whether it is complete."""
        runs = [Run(setting, seed, 'screening') for seed in self.comparison.screening_seeds]
        values = {run.seed: self.lookup(run) for run in runs}
        self.plan.screened[setting] = values
        self.plan.missing_screening += [run for run in runs if values[run.seed] is None]
        return None not in values.values()

    def _best(self, settings: list[Setting]) -> Setting:
        """Return the setting with the best mean, the first one of equal ones. A diverged training (NaN) is never the best."""
        sign = -1 if self.comparison.lower_is_better else 1

        def score(setting: Setting) -> float:
            mean = screening_mean(self.plan.screened[setting])
            return float('-inf') if mean is None or mean != mean else sign * mean

        return max(settings, key=score)


def stage_runs(comparison: Comparison, plan: Plan, stage: str) -> list[Run]:
    """Return the runs of a stage, finished or not.

    Args:
        comparison (Comparison): The comparison.
        plan (Plan): Its plan.
        stage (str): ``'screening'`` or ``'confirmation'``.

    Returns:
        list[Run]: The runs, as far as they are known.
    """
    if stage == 'screening':
        return [Run(setting, seed, stage) for setting, values in plan.screened.items() for seed in values]
    return [Run(setting, seed) for setting in plan.confirmed for seed in comparison.seeds]


def screening_mean(values: dict[int, float | None]) -> float | None:
    """Return the mean over the screening seeds; None if a run is missing.

    Args:
        values (dict[int, float | None]): The selection metric by seed.

    Returns:
        float, optional: The mean.
    """
    known = [value for value in values.values() if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
