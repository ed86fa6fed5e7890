import pytest

from lckd_mm.analysis.comparison_course import steps_to_baseline, steps_to_reach


@pytest.mark.parametrize(
    ('values', 'target', 'lower_is_better', 'step'),
    [
        ([50, 60, 58], 55, False, 15),
        ([50, 60, 58], 60, False, 20),
        # Nothing is known before the first evaluation.
        ([50, 60, 58], 40, False, 10),
        ([50, 60, 58], 61, False, None),
        # The first time counts, also if the value is lost again.
        ([50, 40, 60], 50, False, 10),
        ([4, 3, 2], 2.25, True, 27.5),
        ([float('nan'), 60, 58], 55, False, 20),
        ([50, float('nan'), 58], 55, False, 30),
    ],
)
def test_value_is_reached_by_linear_interpolation(
    values: list[float], target: float, lower_is_better: bool, step: float | None
) -> None:
    assert steps_to_reach([10, 20, 30], values, target, lower_is_better) == step


def run(*values: float) -> dict:
    return dict(select=dict(steps=[1, 2, 3][: len(values)], values=list(values), last=values[-1]))


def test_mean_course_of_each_variant_is_compared_with_the_final_mean_of_the_baseline() -> None:
    results = {
        'baseline': {0: run(10, 20, 30), 1: run(20, 30, 40), 7: run(90, 90, 90)},
        'early': {0: run(20, 40, 50), 1: run(20, 50, 50)},
        'late': {0: run(0, 0, 10), 1: run(0, 0, 10)},
        'missing': {},
    }
    # The seeds 0 and 1 are common: 35 is reached between 20 at step 1 and 45 at step 2.
    assert steps_to_baseline(results, 'baseline') == {'baseline': 3, 'early': pytest.approx(1.6), 'late': None}
    assert steps_to_baseline({'baseline': {}, 'early': results['early']}, 'baseline') == {}
    assert steps_to_baseline({'baseline': {5: run(1)}, 'early': results['early']}, 'baseline') == {}
