"""The verb `distill` at a small size, started as a user starts it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from lckd_mm.checkpoint import load_data
from lckd_mm.cli import distill
from lckd_mm.errors import ConfigError
from lckd_mm.models.utils import build_model
from tests.helpers.shared import make_once
from tests.helpers.small_classifiers import classifier
from tests.helpers.tools import run_tool

pytestmark = pytest.mark.training

STUDENT = """
default_scope = 'mmpretrain'
model = {model!r}
data_preprocessor = dict(mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True)
images = dict(
    type='CustomDataset', data_root={root!r}, pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')])
loader = dict(batch_size=4, num_workers=0)
train_dataloader = dict(
    loader, dataset=dict(images, data_prefix='train'), sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    loader, dataset=dict(images, data_prefix='val'), sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
"""


def _write_project(folder: Path) -> None:
    random = np.random.default_rng(0)
    for split in ('train', 'val'):
        for label, value in dict(dark=60, bright=190).items():
            (folder / split / label).mkdir(parents=True)
            for index in range(4):
                image = np.clip(random.normal(value, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / split / label / f'{index}.png'), image)
    for name, depth in dict(student=18, teacher=34).items():
        text = STUDENT.format(model=classifier(depth, num_classes=2), root=str(folder))
        (folder / f'{name}.py').write_text(text)
    torch.manual_seed(0)
    torch.save(dict(state_dict=build_model(classifier(34, num_classes=2)).state_dict()), folder / 'teacher.pth')


def _configs(folder: Path) -> list[Path]:
    return [folder / 'student.py', folder / 'teacher.py', folder / 'teacher.pth']


def _distill(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, '-W', 'ignore', '-m', 'lckd_mm', 'distill']
    return run_tool(*command, *_configs(folder), *arguments, XDG_CACHE_HOME=str(folder / 'cache'))


@pytest.fixture(scope='module')
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, the configs of a student and a teacher, and a trained teacher."""
    return make_once(tmp_path_factory, 'distill_project', _write_project)


@pytest.fixture(scope='module')
def distilled(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp('distilled') / 'run'
    done = _distill(project, '--work-dir', folder, '--losses', 'lipschitz', 'kd')
    return folder, done.stdout


def test_everything_is_printed_before_the_training(distilled: tuple[Path, str]) -> None:
    before, first_line, _ = distilled[1].partition('Epoch(train)')
    for text in (
        'Student: ImageClassifier', 'The checkpoint matches the teacher', 'training data 2 (bright, dark)',
        'The teacher has accuracy/top1', '8 validation images', 'student backbone.layer1: 4 x 32 x 32, stride 4',
        'loss_lipschitz', 'loss_kd', 'Cost of a step on cpu', 'peak memory',
    ):  # fmt: skip
        assert text in before, text
    assert first_line


def test_the_student_is_a_plain_checkpoint_with_its_plain_config(distilled: tuple[Path, str]) -> None:
    folder = distilled[0]
    text = (folder / 'student.py').read_text()
    assert 'lckd_mm' not in text
    assert 'mmrazor' not in text
    cfg = Config.fromfile(folder / 'student.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    # The reader of torch itself, which accepts no names of lckd_mm.
    data = torch.load(folder / 'student.pth', weights_only=True)
    assert str(model.load_state_dict(data['state_dict'])) == '<All keys matched successfully>'
    trained = torch.load(folder / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, trained[f'architecture.{key}']) for key, value in data['state_dict'].items())


def test_the_report_contains_metric_teacher_norms_and_settings(distilled: tuple[Path, str]) -> None:
    folder = distilled[0]
    text = (folder / 'report.md').read_text()
    last = json.loads(next(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()[-1])['accuracy/top1']
    assert f'| student with distillation, last | {last:.4g} |' in text
    for part in (
        '| teacher |',
        '## Spectral norms',
        '| loss_lipschitz | 0 |',
        'config_fingerprint',
        'Cost of a step',
        '| torch |',
    ):
        assert part in text, part
    assert cv2.imread(str(folder / 'report.png')).shape[0] > 200
    meta = load_data(folder / 'student.pth')['meta']['distillation']
    assert meta['metric'] == 'accuracy/top1'
    assert meta['last_value'] == pytest.approx(last)


def test_the_written_config_is_the_one_that_the_command_trains(
    distilled: tuple[Path, str], project: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / 'mine.py'
    distill.main([*map(str, _configs(project)), '--write-config', str(path), '--losses', 'lipschitz', 'kd'])
    assert path.read_text() in capsys.readouterr().out
    assert path.read_text() == distilled[0].with_name('run.py').read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_a_longer_training_is_resumed_with_what_was_known(distilled: tuple[Path, str], project: Path) -> None:
    folder = distilled[0]
    folder.with_name('run.py').unlink()
    longer = ('--cfg-options', 'train_cfg.max_epochs=2')
    done = _distill(project, '--work-dir', folder, '--losses', 'lipschitz', 'kd', '--resume', *longer)
    assert 'resumed epoch: 1' in done.stdout
    assert 'Cost of a step' not in done.stdout
    text = (folder / 'report.md').read_text()
    assert 'Cost of a step' in text
    metric_table = text.partition('## Metric during the training')[2].partition('##')[0]
    assert [line[:5] for line in metric_table.splitlines()[4:] if line] == ['| 1 |', '| 2 |']
    assert Config.fromfile(folder / 'student.py').train_cfg.max_epochs == 2


@pytest.mark.slow
def test_a_comparison_ends_with_a_verdict(project: Path, tmp_path: Path) -> None:
    done = _distill(project, '--work-dir', tmp_path / 'run', '--compare', 0, 1, '--channels-last')
    verdict = 'compared with student alone'
    assert verdict in done.stdout
    assert verdict in (tmp_path / 'run' / 'report.md').read_text()
    assert (tmp_path / 'run' / 'student.pth').is_file()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--losses', 'kdd'], "'kdd' is unknown"),
        (['--devices', '0'], '--devices 0 is no number'),
        (['--compare', '0', '--skip-teacher-eval'], 'add --metric'),
        (['--compare', '0', '--devices', '2'], '--compare trains on one device'),
        (
            ['--losses', 'kd', '--cfg-options', 'model.head.num_classes=3'],
            'the student has 3 classes and the teacher 2',
        ),
        (
            ['--taps', 'backbone.layer1', 'backbone.layer2=backbone.layer9'],
            "layer of the teacher 'backbone.layer9' is unknown",
        ),
        (['--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], 'does not exist'),
        (['--teacher-options', 'model.backbone.depth=18'], 'does not match the teacher'),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_measured(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list, sentence: str
) -> None:
    monkeypatch.setattr(distill, 'inspect_distillation', lambda *_: pytest.fail('measured'))
    configs = map(str, _configs(project))
    with pytest.raises(ConfigError) as error:
        distill.main([*configs, '--work-dir', str(tmp_path / 'run'), *arguments])
    assert sentence in str(error.value)
    assert '\n' not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_is_reported_at_once(project: Path) -> None:
    student, teacher, _ = map(str, _configs(project))
    with pytest.raises(ConfigError, match=r"checkpoint 'no\.pth' does not exist"):
        distill.main([student, teacher, 'no.pth'])


def test_the_results_do_not_replace_an_input(project: Path, tmp_path: Path) -> None:
    student, teacher, _ = map(str, _configs(project))
    checkpoint = tmp_path / 'student.pth'
    checkpoint.write_text('of an earlier distillation')
    with pytest.raises(ConfigError, match=r"student\.pth' is the file of CHECKPOINT .* which would be lost"):
        distill.main([student, teacher, str(checkpoint), '--work-dir', str(tmp_path)])
    assert checkpoint.read_text() == 'of an earlier distillation'
