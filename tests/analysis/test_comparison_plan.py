import math

import pytest

from lckd_mm.analysis.comparison import Comparison, Variant
from lckd_mm.analysis.comparison_plan import Plan, Run, make_plan
from lckd_mm.errors import ConfigValueError

WEIGHTS = (('w', ('1', '2', '3')),)


def plan_of(comparison: Comparison, values: dict[str, float], finished: tuple = ()) -> Plan:
    """Return the plan when the screening runs of these titles (without seed), and these runs, are finished."""

    def lookup(run: Run) -> float | None:
        if run.stage == 'screening':
            value = values.get(run.setting.title)
            return None if value is None else value + run.seed / 1000
        return 1.0 if (run.setting.variant.name, run.seed) in finished else None

    return make_plan(comparison, lookup)


def titles(runs: list[Run]) -> list[str]:
    return [run.title for run in runs]


def test_without_a_grid_all_variants_are_confirmed_one_seed_after_another() -> None:
    plan = plan_of(Comparison((Variant('a', 'a.py'), Variant('b', 'b.py')), 'acc', (3, 1)), {}, finished=(('a', 3),))
    assert plan.screened == {}
    assert titles(plan.missing_confirmation) == ['b, seed 3', 'a, seed 1', 'b, seed 1']


@pytest.mark.parametrize(
    ('values', 'lower', 'chosen'),
    [
        ((1.0, 3.0, 2.0), False, 'w=2'),
        ((1.0, 3.0, 2.0), True, 'w=1'),
        ((2.0, 2.0, 2.0), False, 'w=1'),
        ((math.nan, 1.0, 2.0), False, 'w=3'),
        ((math.nan, 1.0, 2.0), True, 'w=2'),
    ],
)
def test_best_mean_is_chosen_and_the_first_of_equal_ones(values: tuple, lower: bool, chosen: str) -> None:
    variants = (Variant('a', 'a.py'), Variant('b', 'b.py', grid=WEIGHTS))
    comparison = Comparison(variants, 'acc', (0,), screening_seeds=(8, 9), lower_is_better=lower)
    plan = plan_of(comparison, {f'b (w={index})': value for index, value in enumerate(values, 1)})
    assert plan.chosen['b'].values == (chosen,)
    assert plan.is_screened
    assert [run.setting.options for run in plan.missing_confirmation] == [(), (chosen,)]


def test_nothing_is_chosen_before_all_seeds_of_a_grid_are_finished() -> None:
    variants = (Variant('a', 'a.py'), Variant('b', 'b.py', grid=WEIGHTS))
    plan = plan_of(Comparison(variants, 'acc', (0,), screening_seeds=(8, 9)), {'b (w=1)': 1.0, 'b (w=3)': 5.0})
    assert titles(plan.missing_screening) == ['b (w=2), seed 8', 'b (w=2), seed 9']
    assert 'b' not in plan.chosen


COMPANIONS = Comparison(
    (
        Variant('plain', 'a.py'),
        Variant('LCKD', 'l.py'),
        Variant('KD', 'k.py', group='companions'),
        Variant('PKD', 'p.py', group='companions', grid=WEIGHTS),
        Variant('LCKD + KD', 'lk.py', against='KD', grid=(('v', ('5', '6')),)),
        Variant('LCKD + PKD', 'lp.py', against='PKD', grid=(('v', ('5', '6')),), inherits_grid=True),
    ),
    'acc',
    seeds=(0, 1),
    screening_seeds=(9,),
    confirm_best_of='companions',
)
KD_BEST = {'KD': 7.0, 'PKD (w=1)': 1.0, 'PKD (w=2)': 2.0, 'PKD (w=3)': 1.0}
PKD_BEST = {**KD_BEST, 'KD': 1.5}


def test_group_is_screened_before_what_is_compared_with_it() -> None:
    plan = plan_of(COMPANIONS, {})
    assert titles(plan.missing_screening) == [f'{name}, seed 9' for name in KD_BEST]
    assert plan.best is None


def test_only_the_best_of_a_group_and_what_is_compared_with_it_is_confirmed() -> None:
    plan = plan_of(COMPANIONS, KD_BEST)
    assert plan.best.name == 'KD'
    assert titles(plan.missing_screening) == ['LCKD + KD (v=5), seed 9', 'LCKD + KD (v=6), seed 9']
    plan = plan_of(COMPANIONS, {**KD_BEST, 'LCKD + KD (v=5)': 1.0, 'LCKD + KD (v=6)': 2.0})
    assert plan.is_screened
    assert [setting.title for setting in plan.confirmed] == ['plain', 'LCKD', 'KD', 'LCKD + KD (v=6)']


def test_inherited_values_are_those_chosen_for_the_reference() -> None:
    plan = plan_of(COMPANIONS, PKD_BEST)
    assert titles(plan.missing_screening) == ['LCKD + PKD (w=2, v=5), seed 9', 'LCKD + PKD (w=2, v=6), seed 9']
    plan = plan_of(COMPANIONS, {**PKD_BEST, 'LCKD + PKD (w=2, v=5)': 2.0, 'LCKD + PKD (w=2, v=6)': 1.0})
    assert plan.confirmed[-1].options == ('w=2', 'v=5')


@pytest.mark.parametrize(
    ('variants', 'options', 'message'),
    [
        ((Variant('a', 'a.py', against='c'),), {}, "in variant 'a', against 'c' is unknown"),
        ((Variant('a', 'a.py', against='a'),), {}, "'a' is compared with itself"),
        ((Variant('a', 'a.py', against='b'), Variant('b', 'a.py', against='a')), {}, 'a against b against a'),
        ((Variant('a', 'a.py', inherits_grid=True),), {}, "'a' inherits a grid, but from no variant"),
        ((Variant('a', 'a.py'),), {'primary': ('a', 'b')}, "in primary, variant 'b' is unknown"),
        ((Variant('a', 'a.py'),), {'primary': ('a', 'a')}, "primary compares 'a' with itself"),
        ((Variant('a', 'a.py'),), {'report_on': 'train'}, "report_on 'train' is unknown; valid: 'val', 'test'"),
        ((Variant('a', 'a.py', grid=WEIGHTS),), {}, r"\['a'\] are screened, but there are no seeds"),
        ((Variant('a', 'a.py', grid=WEIGHTS),), {'screening_seeds': (2, 9)}, r'the seeds \[2\] are used for the'),
        ((Variant('a', 'a.py'),), {'confirm_best_of': 'g'}, "group 'g' is unknown; valid: none"),
        ((Variant('a', 'a.py', group='g'),), {'confirm_best_of': 'g'}, "'a', is the baseline and always confirmed"),
    ],
)
def test_parts_that_do_not_fit_are_one_sentence(variants: tuple, options: dict, message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        Comparison(variants, 'acc', **options)
