"""The benchmarks on the smallest shapes: that they measure what they report."""

import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from lckd_mm.analysis import benchmark_contenders
from lckd_mm.analysis.benchmark import peak_memory
from lckd_mm.analysis.benchmark_contenders import STEPS
from lckd_mm.analysis.benchmark_rounds import Limits, estimate_ratio, measure_rounds, widest_interval
from lckd_mm.analysis.benchmark_spectral import exact_norms
from lckd_mm.analysis.benchmark_spectral_cases import SHAPES, Settings, make_maps
from lckd_mm.analysis.benchmark_spectral_report import report_lines
from lckd_mm.analysis.benchmark_step import Measurement, tf32_allowed
from lckd_mm.analysis.lanczos_error import make_chebyshev_maps
from lckd_mm.analysis.operations import SYNCHRONIZATIONS, count_operations
from lckd_mm.analysis.published import published_spectral_norm
from lckd_mm.cli import benchmark_spectral as spectral_verb
from lckd_mm.cli import benchmark_step as step_verb
from lckd_mm.cli import lanczos_error as error_verb
from lckd_mm.errors import ConfigValueError

SHAPE = (2, 8, 12, 12, 16, 6, 6)


@pytest.fixture
def _small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, 'reference', [SHAPE])
    monkeypatch.setitem(SHAPES, 'ssd300', [(2, 8, 5, 5, 6, 5, 5)])


@pytest.mark.usefixtures('_small_shapes')
def test_spectral_benchmark_prints_a_table_and_writes_json_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shapes = ['--shapes', 'reference', 'ssd300']
    arguments = ['--repeats', '2', '--device', 'cpu', '--out', str(tmp_path), *shapes]
    spectral_verb.main(arguments, 'python spectral.py')
    printed = capsys.readouterr().out
    assert '| 2, 8@12, 16@6 |' in printed
    assert 'lckd_mm / published, all shapes' in printed
    record = json.loads((tmp_path / 'benchmark.json').read_text())
    assert set(record) >= {'title', 'date', 'commit', 'is_dirty', 'versions', 'machine'}
    command = ' '.join(['python spectral.py', *arguments])
    assert record['command'] == command.replace(str(tmp_path), tmp_path.name)
    rows = record['rows']
    assert [row['shape'] for row in rows] == [list(SHAPE), [2, 8, 5, 5, 6, 5, 5]]
    for row in rows:
        for column in ('lckd_mm', 'published', 'matrix_norm', 'svd_lowrank'):
            assert len(row[column]['forward']) == len(row[column]['backward']) == 2
            assert min(row[column]['forward'] + row[column]['backward']) > 0
            assert row[column]['memory'] >= 0
        assert row['lckd_mm']['error'] < 1e-4
        assert row['matrix_norm']['error'] < 1e-5
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000


@pytest.mark.usefixtures('_small_shapes')
def test_columns_and_memory_can_be_left_out(capsys: pytest.CaptureFixture) -> None:
    skip = ['--skip', 'svd_lowrank', 'matrix_norm', '--no-memory']
    spectral_verb.main(['--repeats', '1', '--device', 'cpu', '--shapes', 'ssd300', *skip, '--json'])
    (row,) = json.loads(capsys.readouterr().out)['rows']
    assert 'svd_lowrank' not in row
    assert 'memory' not in row['lckd_mm']


@pytest.mark.usefixtures('_small_shapes')
def test_ratios_are_printed_for_measured_shapes_only(capsys: pytest.CaptureFixture) -> None:
    skip = ['--skip', 'svd_lowrank', 'matrix_norm', '--no-memory']
    spectral_verb.main(['--repeats', '1', '--device', 'cpu', '--shapes', 'ssd300', *skip])
    printed = capsys.readouterr().out
    assert re.search(r'lckd_mm / published, all shapes: [\d.]+ in the geometric mean', printed)
    assert 'memory' not in printed
    assert 'reference' not in printed
    assert 'nan' not in printed


def test_ratios_are_geometric_means_over_the_common_rounds_of_all_shapes_with_an_interval() -> None:
    draw = np.random.default_rng(0)

    def shape(group: str, **num_rounds: int) -> dict[str, Any]:
        errors = dict(error=0.0, gradient_error=0.0)
        parts = {name: draw.uniform(1, 2, (2, rounds)) for name, rounds in num_rounds.items()}
        columns = {name: dict(errors, forward=list(part[0]), backward=list(part[1])) for name, part in parts.items()}
        return dict(columns, group=group, name=group, plan='')

    rows = [
        shape('a', lckd_mm=7, published=4, floor=7, traffic=7),
        shape('b', lckd_mm=7, published=5, floor=7, traffic=7),
    ]
    lines = report_lines(rows, ['lckd_mm', 'published'])
    logs = [
        np.log(np.add(row[name]['forward'], row[name]['backward'])[:4]) * sign / 2
        for row in rows
        for name, sign in (('lckd_mm', 1), ('published', -1))
    ]
    values = np.sum(logs, 0)
    half = scipy.stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2
    mean, low, high = np.exp(values.mean() + half * np.array([0, -1, 1]))
    text = f'- lckd_mm / published, all shapes: {mean:.3f} ({low:.3f} to {high:.3f}) in the geometric mean'
    assert [line for line in lines if line.startswith(text)]


@pytest.mark.usefixtures('_small_shapes')
def test_slow_columns_end_after_five_rounds(capsys: pytest.CaptureFixture) -> None:
    limits = ['--repeats', '7', '--seconds', '0', '--no-memory']
    spectral_verb.main(['--device', 'cpu', '--shapes', 'ssd300', *limits, '--json'])
    (row,) = json.loads(capsys.readouterr().out)['rows']
    assert len(row['lckd_mm']['forward']) == 5


def test_spectral_benchmark_of_no_rounds_is_refused() -> None:
    with pytest.raises(ConfigValueError, match='0 rounds cannot be measured'):
        spectral_verb.main(['--repeats', '0', '--device', 'cpu'])


def test_constants_of_the_cost_model_are_printed(capsys: pytest.CaptureFixture) -> None:
    spectral_verb.main(['--constants', '--device', 'cpu'])
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ['cache_bandwidth', 'memory_bandwidth', 'flops', 'seconds_per_call']
    assert all(float(value) > 0 for value in lines.values())


def test_reference_of_the_benchmark_is_exact() -> None:
    x, y = make_maps((2, 6, 8, 8, 5, 4, 4), Settings())
    norms, gradients = exact_norms(x, y)
    maps = [f.double().requires_grad_() for f in (x, y)]
    pooled = maps[0].unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    expected = torch.linalg.matrix_norm(pooled.flatten(2) @ maps[1].flatten(2).mT / 16, ord=2)
    torch.testing.assert_close(norms, expected.detach())
    torch.testing.assert_close(tuple(gradients), torch.autograd.grad(expected.sum(), maps))


def test_published_computation_converges_to_the_exact_norm() -> None:
    x, y = (f.double() for f in make_maps(SHAPE, Settings()))
    torch.testing.assert_close(published_spectral_norm(x, y, num_iters=60), exact_norms(x, y)[0])


@pytest.mark.slow
def test_step_benchmark_measures_every_contender(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    limits = ['--rounds', '2', '--minutes', '0', '--warmup', '0']
    step_verb.main(['--pairs', 'classifier', '--images', '2', *limits, '--device', 'cpu', '--out', str(tmp_path)])
    printed = capsys.readouterr().out
    assert '| the Lipschitz loss beside PKD, which uses the same adapters | LCKD with PKD / PKD |' in printed
    record = json.loads((tmp_path / 'benchmark.json').read_text())
    assert set(record) >= {'title', 'date', 'commit', 'is_dirty', 'versions', 'machine', 'command'}
    result = record['pairs']['classifier']
    assert tuple(result['seconds']) == STEPS
    assert all(len(times) == 2 and min(times) > 0 for times in result['seconds'].values())
    operations, memory = result['operations'], result['memory']
    order = ['student alone', 'teacher forward', 'LCKD, no adapters', 'LCKD']
    assert min(STEPS[:-2], key=operations.get) == 'student alone'
    # Folded BNs are no operations.
    assert operations['teacher alone, cheapest'] < 0.9 * operations['teacher alone, whole']
    assert [operations[name] for name in order] == sorted({operations[name] for name in order})
    assert 0 < memory['student alone'] <= memory['teacher forward'] < memory['LCKD']
    # A check of the loss, and what mmengine reads for its log.
    assert all(count >= 0 for count in result['synchronizations'].values())
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000


def test_step_benchmark_measures_a_detector(capsys: pytest.CaptureFixture) -> None:
    limits = ['--rounds', '1', '--minutes', '0', '--warmup', '0']
    step_verb.main(
        [
            '--pairs',
            'faster_rcnn',
            '--size',
            '64',
            '96',
            '--device',
            'cpu',
            '--json',
            '--steps',
            'teacher forward',
            '--tf32',
            *limits,
        ]
    )
    record = json.loads(capsys.readouterr().out)
    assert 'teacher forward' in record['pairs']['faster_rcnn']['seconds']
    assert 'TF32' in record['title']


@pytest.mark.parametrize(
    ('steps', 'models'),
    [(['student alone'], ['student alone']), (['teacher alone, whole'], ['LCKD, cheapest teacher'])],
)
def test_only_the_models_of_the_measured_steps_are_made(
    steps: list[str], models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_contenders, '_distill_with_lckd', lambda *_, **__: torch.nn.Identity())
    # The other models cannot be made from these networks.
    made = benchmark_contenders.make_contenders('classifier', torch.nn.Identity(), torch.nn.Identity(), steps)
    assert list(made) == models


def test_an_interrupted_step_benchmark_keeps_the_pairs_that_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(pair: str, *_: object) -> Measurement:
        if pair == 'classifier':
            raise KeyboardInterrupt
        counts = dict.fromkeys(STEPS, 1)
        return Measurement({name: [1.0, 2.0] for name in STEPS}, counts, counts, counts)

    monkeypatch.setattr(step_verb, 'measure_pair', measure)
    with pytest.raises(KeyboardInterrupt):
        step_verb.main(['--pairs', 'faster_rcnn', 'classifier', '--out', str(tmp_path)])
    assert set(json.loads((tmp_path / 'benchmark.json').read_text())['pairs']) == {'faster_rcnn'}


@pytest.mark.parametrize('is_allowed', [True, False])
def test_tf32_is_as_asked_while_steps_are_measured(is_allowed: bool) -> None:
    def state() -> list[bool]:
        return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]

    before = state()
    with tf32_allowed(is_allowed):
        assert state() == [is_allowed, is_allowed]
    assert state() == before


def test_rounds_continue_until_every_interval_is_narrow() -> None:
    noise, calls = np.random.default_rng(0), []

    def computation(name: str, seconds: float) -> Callable[[], float]:
        def compute() -> float:
            calls.append(name)
            return seconds * float(np.exp(0.05 * noise.standard_normal()))

        return compute

    computations = {name: computation(name, seconds) for name, seconds in (('a', 1.0), ('b', 1.5), ('c', 2.0))}
    ratios = [('b', 'a'), ('d', 'a')]
    times = measure_rounds(computations, ratios, Limits(rounds=5, minutes=60, width=0.05, warmup=2), str)
    num_rounds = len(times['a'])
    assert len(calls) == 3 * (num_rounds + 2)
    # The interval of n log ratios of standard deviation 0.07 is 0.05 wide for about 30 rounds.
    assert 15 < num_rounds < 60
    assert widest_interval(times, ratios) < 0.05 <= widest_interval({k: v[:-1] for k, v in times.items()}, ratios)
    # All orders occur, and each round has every computation once.
    rounds = [tuple(calls[i : i + 3]) for i in range(0, len(calls), 3)]
    assert set(rounds) == set(itertools.permutations('abc'))
    logs = np.log(times['b']) - np.log(times['a'])
    estimate = estimate_ratio(times, ('b', 'a'))
    half = scipy.stats.t.ppf(0.975, num_rounds - 1) * logs.std(ddof=1) / math.sqrt(num_rounds)
    np.testing.assert_allclose(
        [estimate.mean, estimate.low, estimate.high], np.exp(logs.mean() + half * np.array([0, -1, 1]))
    )


@pytest.mark.parametrize('limits', [('--rounds', '0'), ('--warmup', '-1')])
def test_rounds_that_measure_nothing_are_refused(limits: tuple[str, str]) -> None:
    with pytest.raises(ConfigValueError, match='cannot be measured: use 1 or more'):
        step_verb.main(['--pairs', 'classifier', *limits])


def test_rounds_end_after_the_time_limit() -> None:
    values = itertools.cycle([1.0, 5.0])
    times = measure_rounds({'a': lambda: 1.0, 'b': lambda: next(values)}, [('b', 'a')], Limits(4, 0.0, 0.02, 0), str)
    assert len(times['b']) == 4


def test_peak_memory_contains_what_is_freed_during_the_computation() -> None:
    def compute() -> torch.Tensor:
        temporary = torch.zeros(2**20)
        return torch.zeros(2**10) + temporary.sum()

    assert 4 * 2**20 <= peak_memory(compute, 'cpu') < 4 * 2**20 + 2**16


def test_operations_of_the_backward_pass_are_counted_and_views_are_not() -> None:
    x = torch.randn(4, 4, 4, requires_grad=True)
    assert count_operations(lambda: torch.bmm(x, x.mT).view(-1)[:3]) == {'bmm': 1}
    assert count_operations(lambda: torch.bmm(x, x.mT).sum().backward())['bmm'] == 3
    assert count_operations(lambda: x[:0] + 1) == {}
    assert SYNCHRONIZATIONS & set(count_operations(lambda: x.sum().item()))
    assert SYNCHRONIZATIONS & set(count_operations(lambda: torch.linalg.eigh(x.detach())))


def test_maps_of_the_error_plot_have_the_specified_spectrum() -> None:
    x, y = make_chebyshev_maps(0.4, c1=6, c2=8, side=4, images=2)
    expected = [1.0, *(0.4 * math.cos(math.pi * i / 8) for i in range(5))]
    values = torch.linalg.svdvals(x.flatten(2).double() @ y.flatten(2).double().mT / 16)
    torch.testing.assert_close(values.float(), torch.tensor(expected).expand(2, -1), rtol=1e-4, atol=1e-6)


def test_errors_are_printed_and_plotted(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_verb, 'measure_errors', lambda method: {5: [1e-6] * 10, 1: [0.1] * 10})
    error_verb.main([str(tmp_path / 'new' / 'error.png')])
    assert 'power: maximum relative error' in capsys.readouterr().out
    assert (tmp_path / 'new' / 'error.png').stat().st_size > 10_000


def test_peak_memory_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    peak_memory(lambda: torch.zeros(1), 'cpu')
    assert 'profiler_start' not in capfd.readouterr().err
