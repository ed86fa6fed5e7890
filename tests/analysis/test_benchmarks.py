"""The benchmarks on the smallest shapes: that they measure what they report."""

import json
import math
from pathlib import Path

import pytest
import torch

from lckd_mm.analysis.benchmark_spectral import exact_norms
from lckd_mm.analysis.benchmark_spectral_cases import SHAPES, Settings, make_maps
from lckd_mm.analysis.lanczos_error import make_chebyshev_maps
from lckd_mm.analysis.published import published_spectral_norm
from lckd_mm.cli import benchmark_spectral as spectral_verb
from lckd_mm.cli import benchmark_step as step_verb
from lckd_mm.cli import lanczos_error as error_verb

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
    spectral_verb.main(['--repeats', '2', '--device', 'cpu', '--out', str(tmp_path), *shapes])
    printed = capsys.readouterr().out
    assert '| 2, 8@12, 16@6 |' in printed
    assert 'ours / published, all shapes' in printed
    rows = json.loads((tmp_path / 'benchmark.json').read_text())['rows']
    assert [row['shape'] for row in rows] == [list(SHAPE), [2, 8, 5, 5, 6, 5, 5]]
    for row in rows:
        for column in ('ours', 'published', 'matrix_norm', 'svd_lowrank'):
            assert row[column]['total'] > 0
            assert row[column]['memory'] >= 0
        assert row['ours']['error'] < 1e-4
        assert row['matrix_norm']['error'] < 1e-5
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000


@pytest.mark.usefixtures('_small_shapes')
def test_columns_and_memory_can_be_left_out(capsys: pytest.CaptureFixture) -> None:
    skip = ['--skip', 'svd_lowrank', 'matrix_norm', '--no-memory']
    spectral_verb.main(['--repeats', '1', '--device', 'cpu', '--shapes', 'ssd300', *skip, '--json'])
    (row,) = json.loads(capsys.readouterr().out)['rows']
    assert 'svd_lowrank' not in row
    assert 'memory' not in row['ours']


@pytest.mark.usefixtures('_small_shapes')
def test_ratios_are_printed_for_measured_shapes_only(capsys: pytest.CaptureFixture) -> None:
    skip = ['--skip', 'svd_lowrank', 'matrix_norm', '--no-memory']
    spectral_verb.main(['--repeats', '1', '--device', 'cpu', '--shapes', 'ssd300', *skip])
    printed = capsys.readouterr().out
    assert 'ours / published, all shapes: geometric mean' in printed
    assert 'reference' not in printed
    assert 'nan' not in printed


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


def test_step_benchmark_measures_every_contender(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    step_verb.main(
        ['--pairs', 'classifier', '--images', '2', '--repeats', '1', '--device', 'cpu', '--out', str(tmp_path)]
    )
    assert 'The spectral norms take' in capsys.readouterr().out
    seconds = json.loads((tmp_path / 'benchmark.json').read_text())['seconds']['classifier']
    assert set(seconds) >= {'student alone', 'LCKD', 'MMRazor, same losses', 'MMRazor PKD', 'MMRazor OFD'}
    assert all(len(times) == 1 and times[0] > 0 for times in seconds.values())
    # The clock of the loss runs inside the step.
    assert 0 < seconds['lipschitz loss'][0] < seconds['step of the lipschitz loss'][0]
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000


def test_step_benchmark_measures_a_detector(capsys: pytest.CaptureFixture) -> None:
    steps = ['--steps', 'LCKD, no loss', '--repeats', '1', '--warmup', '0']
    step_verb.main(['--pairs', 'faster_rcnn', '--size', '64', '96', '--device', 'cpu', '--json', *steps])
    assert 'LCKD, no loss' in json.loads(capsys.readouterr().out)['seconds']['faster_rcnn']


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
