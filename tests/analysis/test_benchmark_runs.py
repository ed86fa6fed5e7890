"""The benchmarks of whole trainings and of several processes: that they measure what they report."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import DefaultScope

from lckd_mm.analysis import training
from lckd_mm.analysis.benchmark_runs import BARE, BASELINE, KINDS, LCKD, MMRAZOR, Experiment, plan_runs
from lckd_mm.analysis.benchmark_scaling import Scaling
from lckd_mm.analysis.benchmark_scaling_report import report_lines as scaling_lines
from lckd_mm.analysis.configs import load_config, parse_options
from lckd_mm.cli import benchmark_runs as runs_verb
from lckd_mm.cli import benchmark_scaling as scaling_verb
from lckd_mm.errors import ConfigRuntimeError, ConfigValueError
from tests.helpers.configs import build_from_config

DEMONSTRATION = Experiment(*runs_verb.DEMONSTRATION)
# Writes the file of a RunTimeHook, if there is one: 4 s of training for the baseline and 8 s for a distillation.
TRAINING = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
assert not list(folder.glob('*.json')), 'the folder has an earlier training'
options = sys.argv[sys.argv.index('--cfg-options') + 1:]
seconds = dict(data_loading=1.0, iterations=7.0 if 'lckd_resnet' in sys.argv[1] else 3.0, evaluation=2.0)
print('01/01 10:00:00 - mmengine - INFO - Epoch(train) [1][1/1]')
if 'no_file=1' not in options:
    record = dict(started=time.time(), seconds=seconds, num_images=40)
    (folder / 'run_time.json').write_text(json.dumps(record))
"""


@pytest.fixture
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'train.py').write_text(TRAINING)
    monkeypatch.setattr(training, 'TRAIN_COMMAND', (sys.executable, '-I', '-S', str(tmp_path / 'train.py')))
    monkeypatch.chdir(tmp_path)


def run_benchmark(*arguments: str) -> None:
    runs_verb.main(['--configs', *runs_verb.DEMONSTRATION, '--teacher-ckpt', 'teacher.pth', *arguments])


@pytest.mark.usefixtures('_fake_training')
def test_runs_are_reported_as_images_per_second_and_as_parts(capsys: pytest.CaptureFixture) -> None:
    run_benchmark('--rounds', '2', '--epochs', '3', '--out', 'out')
    printed = capsys.readouterr().out
    assert '40 training images in each run, 2 rounds' in printed
    assert '| LCKD / student alone | 0.500 (0.500 to 0.500) | ' in printed
    record = json.loads(Path('out/benchmark.json').read_text())
    assert set(record) >= {'title', 'date', 'commit', 'versions', 'commands'}
    assert {kind: len(times) for kind, times in record['runs'].items()} == dict.fromkeys(KINDS, 2)
    for times in record['runs'].values():
        for seconds in times:
            assert 0 < seconds['start_up'] < seconds['total']
            assert seconds['evaluation'] == 2.0
    for command in record['commands'].values():
        assert 'train_cfg.max_epochs=3' in command
        assert 'default_hooks.run_time.type=mmrazor.RunTimeHook' in command
    assert Path('out/benchmark.md').read_text() == printed
    assert not Path('work_dirs/benchmark_runs/run').exists()


@pytest.mark.usefixtures('_fake_training')
def test_training_without_times_is_an_error() -> None:
    with pytest.raises(ConfigRuntimeError, match=r'keep default_hooks\.run_time'):
        run_benchmark('--rounds', '1', '--cfg-options', 'no_file=1')


@pytest.fixture(scope='module')
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of each kind of training."""
    runs = plan_runs(DEMONSTRATION, tmp_path_factory.mktemp('runs'))
    return {kind: load_config(config, parse_options(options)) for kind, (config, options) in runs.items()}


def test_each_kind_trains_the_same_student_on_the_same_data(configs: dict[str, Any]) -> None:
    baseline = configs[BASELINE]
    for kind in (LCKD, BARE, MMRAZOR):
        assert configs[kind].model.architecture == baseline.model
        for key in ('train_dataloader', 'val_dataloader', 'optim_wrapper', 'train_cfg', 'randomness'):
            assert configs[kind][key] == baseline[key]


@pytest.mark.parametrize('name', ['lckd_resnet_w16_w4_digits', 'lckd_deeplabv3plus_r18w32_r18w8_digits'])
def test_mmrazors_algorithm_has_the_distiller_and_the_preprocessor_of_lckd(name: str) -> None:
    distillation = f'lckd_mm::demo/{name}.py'
    runs = plan_runs(Experiment('', distillation, teacher_ckpt='teacher.pth'), Path())
    ours, mmrazor = (load_config(config, parse_options(options)) for config, options in (runs[LCKD], runs[MMRAZOR]))
    assert mmrazor.model.distiller == ours.model.distiller
    mmrazor.model.teacher_ckpt = None
    models = [build_from_config(cfg) for cfg in (ours, mmrazor)]
    assert type(models[1]).__module__.startswith('mmrazor.')
    first, second = (model.data_preprocessor for model in models)
    assert type(first) is type(second)
    assert (first.mean == second.mean).all()
    assert (first.std == second.std).all()
    for attribute in ('size', 'size_divisor', 'pad_size_divisor', 'pad_val', 'channel_conversion'):
        assert getattr(first, attribute, None) == getattr(second, attribute, None)


def test_both_algorithms_load_the_teacher_with_random_weights(configs: dict[str, Any]) -> None:
    first, second = (build_from_config(configs[kind]) for kind in (LCKD, MMRAZOR))
    first.init_weights()
    teacher = second.teacher.state_dict()
    assert all((value == teacher[key]).all() for key, value in first.teacher.state_dict().items())


def test_hooks_that_mmrazor_does_not_have_are_switched_off(configs: dict[str, Any]) -> None:
    def hooks(kind: str) -> set[str]:
        return {hook.type.rpartition('.')[2] for hook in configs[kind].default_hooks.values() if hook}

    assert hooks(LCKD) - hooks(BARE) == {'LipschitzBalanceHook', 'LipschitzMonitorHook'}
    assert hooks(MMRAZOR) == hooks(BARE)
    assert all('RunTimeHook' in hooks(kind) for kind in KINDS)


def test_config_without_a_distillation_is_refused(tmp_path: Path) -> None:
    with DefaultScope.overwrite_default_scope('mmrazor'), pytest.raises(ConfigValueError, match='ImageClassifier'):
        plan_runs(Experiment(DEMONSTRATION.baseline, DEMONSTRATION.baseline), tmp_path)


@pytest.mark.parametrize('option', ['--rounds', '--epochs'])
def test_numbers_of_runs_that_measure_nothing_are_refused(option: str) -> None:
    with pytest.raises(ConfigValueError, match=f'{option} 0 measures nothing: use 1 or more'):
        runs_verb.main([option, '0'])


@pytest.mark.slow
def test_two_processes_reduce_the_gradients_of_student_and_adapters(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    limits = ['--rounds', '1', '--minutes', '0', '--warmup', '0']
    scaling_verb.main(['--images', '1', '--threads', '1', *limits, '--out', str(tmp_path)])
    assert '| LCKD | ' in capsys.readouterr().out
    result = json.loads((tmp_path / 'benchmark.json').read_text())['scaling']
    # The adapters of ResNet-18 (64 to 512 channels) to ResNet-50 (256 to 2048): convolutions without bias, and BNs.
    adapters = sum(4 * width * width + 2 * 4 * width for width in (64, 128, 256, 512))
    student = 11_689_512
    assert result['num_bytes'] == {BASELINE: 4 * student, LCKD: 4 * (student + adapters)}
    assert {name: len(times) for name, times in result['seconds'].items()} == {
        f'{model}, {number}': 1 for model in (BASELINE, LCKD) for number in ('1 process', '2 processes')
    }


def test_ratio_of_the_efficiencies_is_paired_by_round() -> None:
    seconds = {
        'student alone, 1 process': [1.0, 2.0, 3.0],
        'student alone, 2 processes': [1.25, 2.5, 4.0],
        'LCKD, 1 process': [2.0, 4.0, 6.0],
        'LCKD, 2 processes': [2.0, 5.0, 9.0],
    }
    megabytes = {BASELINE: 2**21, LCKD: 2**22}
    *_, ratio = scaling_lines(Scaling(seconds, megabytes, {BASELINE: 62, LCKD: 74}, 8, 2))
    efficiency = np.array([1 / 1, 4 / 5, 6 / 9]) / np.array([1 / 1.25, 2 / 2.5, 3 / 4])
    assert f': {np.exp(np.log(efficiency).mean()):.3f} (' in ratio


def test_one_process_has_no_scaling_efficiency() -> None:
    with pytest.raises(ConfigValueError, match='--processes 1 has no scaling efficiency'):
        scaling_verb.main(['--processes', '1'])
