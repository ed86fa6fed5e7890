"""The analysis tools, started as a user starts them, on the smallest shapes: that they measure what they say."""

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools'


def _load(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', *arguments])
    monkeypatch.setattr(sys, 'path', [*sys.path])
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def spectral(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    arguments = ['--repeats', '2', '--device', 'cpu', '--out', str(tmp_path), '--shapes', 'reference', 'ssd300']
    module = _load('benchmark_spectral', monkeypatch, *arguments)
    monkeypatch.setitem(module.SHAPES, 'reference', [(2, 8, 12, 12, 16, 6, 6)])
    monkeypatch.setitem(module.SHAPES, 'ssd300', [(2, 8, 5, 5, 6, 5, 5)])
    return module


def test_the_spectral_benchmark_prints_a_table_and_leaves_json_and_a_chart(
    spectral: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    spectral.main()
    printed = capsys.readouterr().out
    assert '| 2, 8@12, 16@6 |' in printed
    assert 'ours / published, all shapes' in printed
    rows = json.loads((tmp_path / 'benchmark.json').read_text())['rows']
    assert [row['shape'] for row in rows] == [[2, 8, 12, 12, 16, 6, 6], [2, 8, 5, 5, 6, 5, 5]]
    for row in rows:
        for column in ('ours', 'published', 'matrix_norm', 'svd_lowrank'):
            assert row[column]['total'] > 0
            assert row[column]['memory'] >= 0
        assert row['ours']['error'] < 1e-4
        assert row['matrix_norm']['error'] < 1e-5
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000


def test_the_benchmarks_yardstick_is_exact(spectral: ModuleType) -> None:
    args = spectral.parse_args()
    x, y = spectral.make_maps((2, 6, 8, 8, 5, 4, 4), args)
    sigma, (grad_x, grad_y) = spectral.exact(x, y)
    maps = [f.double().requires_grad_() for f in (x, y)]
    pooled = maps[0].unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    expected = torch.linalg.matrix_norm(pooled.flatten(2) @ maps[1].flatten(2).mT / 16, ord=2)
    torch.testing.assert_close(sigma, expected.detach())
    torch.testing.assert_close((grad_x, grad_y), torch.autograd.grad(expected.sum(), maps))


def test_the_step_benchmark_measures_every_contender(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ['--pairs', 'classifier', '--images', '2', '--repeats', '1', '--device', 'cpu', '--out', str(tmp_path)]
    _load('benchmark_step', monkeypatch, *arguments).main()
    printed = capsys.readouterr().out
    assert 'The term takes' in printed
    seconds = json.loads((tmp_path / 'benchmark.json').read_text())['seconds']['classifier']
    assert set(seconds) >= {'student alone', 'LCKD', 'MMRazor, same losses', 'MMRazor PKD', 'MMRazor OFD'}
    assert all(len(times) == 1 and times[0] > 0 for times in seconds.values())
    # The clock of the term is inside the step's.
    assert 0 < seconds['term'][0] < seconds['step of the term'][0]
    assert (tmp_path / 'benchmark.png').stat().st_size > 10_000


def test_the_maps_of_the_error_plot_have_the_spectrum_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    plot = _load('plot_lanczos_error', monkeypatch)
    x, y = plot.make_maps(0.4, c1=6, c2=8, side=4, images=2)
    expected = [1.0, *(0.4 * math.cos(math.pi * i / 8) for i in range(5))]
    values = torch.linalg.svdvals(x.flatten(2).double() @ y.flatten(2).double().mT / 16)
    torch.testing.assert_close(values.float(), torch.tensor(expected).expand(2, -1), rtol=1e-4, atol=1e-6)
