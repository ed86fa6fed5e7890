"""The growth of time and memory with the sizes, and the fitted exponents."""

import io
import json
import math
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from lckd_mm.analysis.benchmark_growth_cases import GRIDS, QUANTITIES, Case
from lckd_mm.analysis.benchmark_growth_report import report_lines
from lckd_mm.analysis.power_law import fit_power_law
from lckd_mm.cli import benchmark_growth as growth_verb
from lckd_mm.errors import ConfigValueError

Result = tuple[dict[str, Any], str, Path]


@pytest.fixture(scope='module')
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Return the record, the output and the folder of a small run."""
    folder, output = tmp_path_factory.mktemp('growth'), io.StringIO()
    with redirect_stdout(output):
        growth_verb.main(['--quick', '--repeats', '2', '--device', 'cpu', '--out', str(folder)], 'growth')
    return json.loads((folder / 'benchmark.json').read_text()), output.getvalue(), folder


def test_growth_benchmark_measures_every_size_in_every_round(result: Result) -> None:
    rows = result[0]['rows']
    cases = [(row['quantity'], Case(**{key: row[key] for key in QUANTITIES})) for row in rows]
    assert cases == GRIDS['quick'].cases()
    assert all(len(row['seconds']) == 2 and min(row['seconds']) > 0 for row in rows)
    sizes = {key: [row['size'] for row in rows if row['quantity'] == key] for key in QUANTITIES}
    assert sizes == dict(images=[1, 2, 4, 8], side=[16, 36, 64, 144], taps=[1, 2, 3, 4], channels=[4, 8, 16, 32])


def test_peak_memory_contains_the_gradients_of_the_students_maps_and_is_linear_in_the_batch(result: Result) -> None:
    rows = result[0]['rows']
    for row in rows:
        assert row['gradients'] == 4 * row['taps'] * row['images'] * row['channels'] * row['side'] ** 2
        assert row['memory'] > row['gradients']
    memory = {row['images']: row['memory'] for row in rows if row['quantity'] == 'images'}
    assert memory[8] == pytest.approx(2 * memory[4], rel=0.05)


def test_growth_benchmark_writes_a_report_a_plot_and_where_the_figures_are_from(result: Result) -> None:
    record, output, folder = result
    assert record['command'] == f'growth --quick --repeats 2 --device cpu --out {folder.name}'
    assert {'title', 'date', 'commit', 'is_dirty', 'versions', 'machine'} <= record.keys()
    assert output == (folder / 'benchmark.md').read_text()
    assert '| channels C1 = C2 | B = 2, N = 6², 2 pairs | 16, 32 |' in output
    assert (folder / 'benchmark.png').stat().st_size > 10_000


def test_growth_benchmark_of_no_rounds_is_refused() -> None:
    with pytest.raises(ConfigValueError, match='0 rounds'):
        growth_verb.main(['--quick', '--repeats', '0', '--device', 'cpu'])


def test_exponent_and_interval_are_those_of_a_regression_on_the_logarithms() -> None:
    sizes = np.array([3, 5, 8, 14, 20])
    values = 7 * sizes**1.2 * np.exp(0.1 * np.random.default_rng(0).standard_normal(5))
    law = fit_power_law(sizes, values)
    (slope, intercept), covariance = np.polyfit(np.log(sizes), np.log(values), 1, cov=True)
    half = scipy.stats.t.ppf(0.975, 3) * math.sqrt(covariance[0, 0])
    expected = [slope, slope - half, slope + half, math.exp(intercept)]
    np.testing.assert_allclose([law.exponent, law.low, law.high, law.factor], expected)
    assert str(fit_power_law([1, 2], [1, 2])) == '1.00'


def synthetic_rows() -> list[dict[str, Any]]:
    """Return rows with a constant cost below the larger half of the sizes, and a power of the size above it."""
    rows = []
    for key in QUANTITIES:
        for index, size in enumerate((1, 2, 4, 8, 16, 32)):
            seconds = 0.001 * size**1.5 if index >= 3 else 1.0
            memory = dict(memory=3 * 2**20 * size, gradients=2**21 * size)
            case = dict(images=4, side=8, taps=3, channels=16)
            rows.append(dict(quantity=key, size=size, **case, seconds=[seconds, 9.0, seconds], **memory))
    return rows


def test_exponents_are_fitted_to_the_medians_of_the_larger_half_of_the_sizes() -> None:
    lines = report_lines(synthetic_rows())
    exponents = '1.50 (1.50 to 1.50) | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00)'
    assert lines[2] == f'| images B | N = 8², 2 pairs, C = 16 | 8, 16, 32 | {exponents} | 181 | 96 | 32 |'
