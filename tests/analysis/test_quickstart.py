"""The demonstration with a training that only writes its files."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from lckd_mm.analysis import training
from lckd_mm.analysis.comparison_file import load_comparison
from lckd_mm.analysis.quickstart import TASKS, config_path, read_reference
from lckd_mm.analysis.training import last_checkpoint
from lckd_mm.cli import quickstart
from lckd_mm.errors import ConfigFileNotFoundError, ConfigRuntimeError
from tests.helpers.tools import ROOT

FAKE_TRAINING = """
import json, pathlib, shutil, sys
config, _, work_dir = sys.argv[1:4]
if pathlib.Path('broken').exists():
    print('the first line'); sys.exit('it is broken')
work_dir = pathlib.Path(work_dir)
print('11/25 10:00:00 - mmengine - INFO - Epoch(train)  [1][1/1]  loss: 1.0')
folder = work_dir / 'run' / 'vis_data'
folder.mkdir(parents=True)
lines = [dict(loss=2.0, time=0.5, step=1), {'accuracy/top1': 50.0, 'step': 1}, {'accuracy/top1': 75.0, 'step': 2}]
(folder / 'scalars.json').write_text(chr(10).join(map(json.dumps, lines)))
shutil.copy('checkpoint.pth', work_dir / 'epoch_6.pth')
(work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_6.pth'))
(work_dir / 'lipschitz').mkdir()
(work_dir / 'lipschitz' / 'spectral_norms.csv').write_text(
    'iter,loss,pair,teacher,student,gap\\n1,loss_lipschitz,0,2.0,1.0,-1.0\\n1,loss_lipschitz,bound,2.0,1.0,-1.0\\n')
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / 'train.py').write_text(FAKE_TRAINING)
    torch.save(dict(state_dict={'architecture.w': torch.ones(1)}), tmp_path / 'checkpoint.pth')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, 'TRAIN_COMMAND', (sys.executable, str(tmp_path / 'train.py')))
    monkeypatch.setattr(quickstart.make_demo_set, 'main', lambda arguments: None)
    return tmp_path


def test_three_models_are_trained_once_and_reported(folder: Path, capsys: pytest.CaptureFixture) -> None:
    quickstart.main(['classification'])
    printed = capsys.readouterr().out
    for text in ('teacher: training', 'Epoch(train) [1][1/1]', 'student with LCKD and PKD', '0.750', 'done in'):
        assert text in printed
    student = torch.load(folder / 'work_dirs' / TASKS['classification'].configs[-1] / 'student.pth', weights_only=True)
    assert list(student['state_dict']) == ['w']
    assert (folder / 'work_dirs' / 'quickstart_classification.png').stat().st_size > 10_000
    quickstart.main(['classification'])
    assert capsys.readouterr().out.count('already trained') == 3
    quickstart.main(['classification', '--fresh'])
    assert 'already trained' not in capsys.readouterr().out


def test_figures_of_other_seeds_stand_beside_those_of_the_run(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / 'configs').unlink()
    shutil.copytree(ROOT / 'configs', folder / 'configs')
    variants = [dict(values={'0': 40.0, '1': 42.0}), dict(values={'0': 45.0, '1': 49.0})]
    reference = dict(seeds=[0, 1], variants=variants, sentences=['It cannot be told.', 'more'])
    (folder / 'configs/demo/results_classification.json').write_text(json.dumps(reference))
    monkeypatch.setenv('COLUMNS', '160')
    quickstart.main(['classification'])
    printed = capsys.readouterr().out
    for text in ('2 seeds', '0.410 ± 0.014', '0.470 ± 0.028', 'It cannot be told.'):
        assert text in printed
    (folder / 'configs/demo/results_classification.json').unlink()
    quickstart.main(['classification'])
    assert 'seeds' not in capsys.readouterr().out


def test_results_in_the_repository_are_those_of_its_comparisons() -> None:
    for name, task in TASKS.items():
        reference = read_reference(name)
        comparison = load_comparison(ROOT / f'configs/demo/comparison_{name}.yml')
        assert [variant.name for variant in comparison.variants] == list(task.roles[1:])
        if reference is None:
            continue
        assert (reference['metric'], tuple(reference['seeds'])) == (task.metric, comparison.seeds)
        configs = [config_path(config) for config in task.configs[1:]]
        assert [variant['config'] for variant in reference['variants']] == configs
        assert [variant.config for variant in comparison.variants] == configs
        assert all(len(variant['values']) == 3 for variant in reference['variants'])


def test_failed_training_is_reported_with_the_end_of_its_log(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / 'broken').touch()
    with pytest.raises(ConfigRuntimeError, match=r'the training of the teacher failed: it is broken \(complete log: '):
        quickstart.main(['classification'])
    assert 'the first line\nit is broken\n' in capsys.readouterr().out


def test_configs_of_all_tasks_exist() -> None:
    for task in TASKS.values():
        assert all((ROOT / config_path(name)).is_file() for name in task.configs)


def test_missing_checkpoint_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileNotFoundError, match='contains no checkpoint'):
        last_checkpoint(tmp_path)
