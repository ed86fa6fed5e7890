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


TRAINS_NOTHING = """
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument('config')
parser.add_argument('--work-dir', type=pathlib.Path)
parser.add_argument('--resume', action='store_true')
parser.add_argument('--cfg-options', nargs='+')
args = parser.parse_args()
options = dict(option.split('=') for option in args.cfg_options)
if options.get('broken'):
    sys.exit('it is broken')
seed = int(options['randomness.seed'])
folder = args.work_dir / 'run' / 'vis_data'
folder.mkdir(parents=True)
lines = [dict(loss=2.0, time=9.0, step=1), dict(loss=1.0, time=0.5, step=2)]
lines += [{'loss': 0.5, 'distill.loss': 0.1, 'time': 0.3, 'step': 3}]
lines += [{'acc': float(options.get('gain', 0)) + 10 * seed + epoch, 'step': epoch} for epoch in (1, 2, 3)]
(folder / 'scalars.json').write_text(''.join(json.dumps(line) + chr(10) for line in lines) + '{"cut off')
"""


def test_a_comparison_trains_what_is_missing_and_reports_mean_and_deviation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'train.py').write_text(TRAINS_NOTHING)
    (tmp_path / 'arms.txt').write_text('plain: a.py  # the baseline\n\nbetter: a.py gain=5\n')
    command = [f'@{tmp_path / "arms.txt"}', '--metric', 'acc', '--out', str(tmp_path / 'out'), '--jobs', '2']

    def compare(*more: str) -> str:
        module = _load('compare', monkeypatch, *command, *more)
        monkeypatch.setattr(module, 'TRAIN', tmp_path / 'train.py')
        module.main()
        return capsys.readouterr().out

    compare('--seeds', '0', '2')
    lines = (tmp_path / 'out' / 'results.jsonl').read_text().splitlines()
    results = {(r['arm'], r['seed']): r for r in map(json.loads, lines)}
    assert sorted(results) == [('better', 0), ('better', 2), ('plain', 0), ('plain', 2)]
    assert results['better', 2]['values'] == [26, 27, 28]
    assert results['better', 2]['seconds_per_iteration'] == 0.5
    assert results['better', 2]['last_losses'] == {'loss': 0.5, 'distill.loss': 0.1}
    # 3 and 23: 13, with the sample's deviation 20 / sqrt(2); better by 5 with every seed.
    table = (tmp_path / 'out' / 'table.md').read_text().splitlines()
    assert table[2].startswith('| plain | 2 | 13.00 ± 14.14 | 13.00 ± 14.14 |  |')
    assert table[3].startswith('| better | 2 | 18.00 ± 14.14 | 18.00 ± 14.14 | +5.00 ± 0.00 |')
    assert (tmp_path / 'out' / 'comparison.png').stat().st_size > 10_000

    # What is there is not trained again, nor is anything with --report-only.
    assert 'seed 1' in compare('--seeds', '0', '1', '2')
    assert len((tmp_path / 'out' / 'results.jsonl').read_text().splitlines()) == 6
    compare('--seeds', '7', '--report-only')
    assert len((tmp_path / 'out' / 'results.jsonl').read_text().splitlines()) == 6


def test_of_a_comparison_one_failure_leaves_the_other_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / 'train.py').write_text(TRAINS_NOTHING)
    arms = ('bad: a.py broken=1', 'good: a.py')
    module = _load('compare', monkeypatch, *arms, '--seeds', '0', '--metric', 'acc', '--out', str(tmp_path / 'out'))
    monkeypatch.setattr(module, 'TRAIN', tmp_path / 'train.py')
    with pytest.raises(SystemExit, match='failed: bad, seed 0: it is broken'):
        module.main()
    (line,) = (tmp_path / 'out' / 'results.jsonl').read_text().splitlines()
    assert json.loads(line)['arm'] == 'good'


@pytest.mark.parametrize(
    ('arms', 'message'), [(['x: a.py b'], 'is no arm'), (['x: a.py', 'x: b.py'], 'two arms have one name')]
)
def test_a_comparison_refuses_what_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture, arms: list, message: str
) -> None:
    module = _load('compare', monkeypatch, *arms, '--metric', 'acc', '--out', str(tmp_path / 'out'))
    with pytest.raises(SystemExit):
        module.main()
    assert message in capsys.readouterr().err


def test_taps_are_listed_with_their_shapes_and_pairs_suggested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = str(TOOLS.parents[1] / 'configs' / 'demo' / 'lckd_resnet_digits.py')
    module = _load('list_taps', monkeypatch, config, '--size', '16', '16')
    module.main()
    printed = capsys.readouterr().out
    for line in ('backbone.layer3', '16 x 4 x 4', '64 x 4 x 4', 'ReLU'):
        assert line in printed
    # Of strides 4 and 8; the stages before them, at 1 and 2, have seen too little.
    assert "student_taps=['backbone.layer3', 'backbone.layer4']" in printed
    assert "teacher_taps=['backbone.layer3', 'backbone.layer4']" in printed


def test_taps_of_token_stages_say_which_of_their_outputs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = str(TOOLS.parents[1] / 'configs' / 'imagenet' / 'lckd_swin_tiny_resnet18_in1k.py')
    module = _load('list_taps', monkeypatch, config)
    module.main()
    printed = capsys.readouterr().out
    assert 'backbone.stages.2, data_idx=0' in printed
    assert '196 x 384' in printed
    assert "student_taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'backbone.layer4']" in printed


def test_a_size_that_the_model_does_not_take_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _load('list_taps', monkeypatch, 'mmpretrain::resnet/resnet18_8xb16_cifar10.py', '--size', '0', '8')
    with pytest.raises(SystemExit, match=r'\(0, 8\) pixels.*--size'):
        module.main()


def test_padding_is_measured_to_matter_and_to_be_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """On three made-up images and networks that were never trained."""
    import cv2
    import numpy as np
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    import lckd_mm  # noqa: F401

    root = TOOLS.parents[1]
    random = np.random.default_rng(0)
    for name in 'abc':
        blurred = cv2.GaussianBlur(random.integers(0, 256, (128, 160, 3)).astype(np.uint8), (0, 0), 3)
        cv2.imwrite(str(tmp_path / f'{name}.jpg'), blurred)
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((128, 160), np.uint8))
    cfg = Config.fromfile(root / 'configs/demo/lckd_deeplabv3plus_digits.py')
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    folders = dict(data_root=str(tmp_path), ann_file='', data_prefix=dict(img_path='', seg_map_path=''))
    cfg.test_dataloader.dataset.update(folders)
    cfg.dump(tmp_path / 'config.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    # Constant pixels, the padding, must come out as something.
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.bias)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'epoch_1.pth')
    monkeypatch.setenv('COLUMNS', '200')
    module = _load('measure_padding', monkeypatch, str(tmp_path / 'config.py'), str(tmp_path / 'epoch_1.pth'))
    module.main()
    lines = [line.replace('│', ' ').split() for line in capsys.readouterr().out.splitlines()]
    counts = [list(map(float, line[-9:])) for line in lines if 'counts' in line]
    left_out = [list(map(float, line[-9:])) for line in lines if 'left' in line]
    assert len(counts) == len(left_out) == len(module.PADDINGS)
    assert sum(map(sum, left_out)) < sum(map(sum, counts)) / 3


def test_a_loss_pulls_as_strongly_as_its_weight_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import cv2
    import numpy as np
    from mmengine.config import Config

    random = np.random.default_rng(0)
    for label in ('zero', 'one'):
        (tmp_path / label).mkdir()
        for index in range(4):
            cv2.imwrite(str(tmp_path / label / f'{index}.jpg'), random.integers(0, 256, (16, 16, 3)).astype(np.uint8))
    read = []
    for weight in (0.5, 1.0):
        cfg = Config.fromfile(TOOLS.parents[1] / 'configs/demo/lckd_resnet_digits.py')
        cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
        cfg.model.distiller.distill_losses.loss_lipschitz.loss_weight = weight
        cfg.train_dataloader.update(batch_size=4)
        cfg.train_dataloader.dataset.update(data_root=str(tmp_path), data_prefix='')
        cfg.dump(tmp_path / 'config.py')
        # Of the weights, and of the crops.
        torch.manual_seed(0)
        np.random.seed(0)
        _load('measure_gradients', monkeypatch, str(tmp_path / 'config.py')).main()
        lines = [line.replace('│', ' ').split() for line in capsys.readouterr().out.splitlines()]
        read.append({line[0]: [float(cell.rstrip('%')) for cell in line[1:]] for line in lines if len(line) == 5})
    light, heavy = ({name: row[name] for name in ('task', 'distill.loss_lipschitz')} for row in read)
    for row in (light, heavy):
        assert row['task'][2:] == [1, 1]
        assert row['task'][1] + row['distill.loss_lipschitz'][1] == pytest.approx(100, abs=0.11)
    light, heavy = light['distill.loss_lipschitz'], heavy['distill.loss_lipschitz']
    assert heavy[0] == pytest.approx(2 * light[0], rel=1e-3)
    assert heavy[2] == pytest.approx(2 * light[2], rel=1e-2)
    assert heavy[3] == pytest.approx(light[3], abs=2e-3)


def test_only_a_distillation_can_be_looked_into() -> None:
    from lckd_mm.cli import load_distillation

    with pytest.raises(SystemExit, match=r'is no distillation \(ImageClassifier\)'):
        load_distillation(str(TOOLS.parents[1] / 'configs/demo/resnet_w4_digits.py'))
