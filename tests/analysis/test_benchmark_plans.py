"""The comparison of all plans for a spectral norm with the choice of the cost model."""

import json
from pathlib import Path

import pytest

from lckd_mm.analysis.benchmark_plans import SHAPES, make_plans, plan_name, report_lines
from lckd_mm.cli import benchmark_plans as plans_verb
from lckd_mm.errors import ConfigValueError


def test_benchmark_measures_every_plan_in_every_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plans_verb.main(['--shapes', '2', '--repeats', '2', '--device', 'cpu', '--out', str(tmp_path)], 'plans')
    record = json.loads((tmp_path / 'benchmark.json').read_text())
    assert record['command'] == f'plans --shapes 2 --repeats 2 --device cpu --out {tmp_path.name}'
    for row, shape in zip(record['rows'], SHAPES, strict=False):
        chosen, plans = make_plans(shape, 'cpu')
        assert row['chosen'] == plan_name(chosen)
        assert set(row['seconds']) == set(map(plan_name, plans))
        assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in row['seconds'].values())
    assert capsys.readouterr().out == (tmp_path / 'benchmark.md').read_text()


def test_report_compares_the_choice_with_the_fastest_plan_of_each_kind() -> None:
    times = {'1 factored': 4.0, '4 factored': 2.0, '1 materialized': 3.0, '4 materialized': 1.0}
    rows = [
        dict(name='a', chosen='4 factored', seconds={plan: [time, time] for plan, time in times.items()}),
        dict(name='b', chosen='4 materialized', seconds={plan: [time, time] for plan, time in times.items()}),
    ]
    lines = report_lines(rows)
    factored, materialized = '4 factored | 2000.00', '4 materialized | 1000.00'
    assert lines[2] == f'| a | {factored} | {factored} | {materialized} | 0.500 (0.500 to 0.500) | 2.00 |'
    assert lines[3] == f'| b | {materialized} | {factored} | {materialized} | 0.500 (0.500 to 0.500) | 1.00 |'
    assert '1.414 times as long as the fastest in the geometric mean over the shapes, 2.00 times at most' in lines[-1]


def test_plans_of_a_gpu_are_whole_batches() -> None:
    chosen, plans = make_plans((16, 64, 8, 8, 64, 8, 8), 'cuda')
    assert chosen.joint
    assert [(plan.images_per_chunk, plan.materialized, plan.joint) for plan in plans] == [
        (16, (False,), True),
        (16, (True,), True),
    ]


def test_benchmark_of_no_rounds_is_refused() -> None:
    with pytest.raises(ConfigValueError, match='0 rounds'):
        plans_verb.main(['--shapes', '1', '--repeats', '0', '--device', 'cpu'])
