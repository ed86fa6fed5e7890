"""Files with code, given to every command that reads a checkpoint: nothing is executed, and the error names the file."""

import importlib
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lckd_mm.cli import compare, distill, export, gradients, padding, test, train
from lckd_mm.cli.dispatch import VERBS
from lckd_mm.cli.entry import run_verb
from lckd_mm.models.utils import build_model
from tests.helpers.malicious import CHECKPOINTS, MaliciousFiles
from tests.helpers.small_classifiers import classifier, distillation_config
from tests.helpers.tiny_configs import write_config, write_images

EVALUATION = """
test_dataloader = dict(train_dataloader, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = test_dataloader
val_cfg = test_cfg = dict()
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configs of a model and of a distillation; `evil.pth` contains all weights of the model, and code."""
    folder = tmp_path_factory.mktemp('malicious')
    write_images(folder)
    for name, model in (('plain', classifier()), ('distillation', distillation_config())):
        with write_config(folder, model, f'{name}.py').open('a') as file:
            file.write(EVALUATION)
    state = build_model(classifier()).state_dict()
    torch.save(dict(state_dict=state), folder / 'good.pth')
    MaliciousFiles(folder).checkpoint(folder / 'evil.pth', state=state)
    return folder


@pytest.fixture
def marker(folder: Path) -> Iterator[Path]:
    path = MaliciousFiles(folder).marker
    yield path
    assert not path.exists(), 'a checkpoint was executed'


def sentence(verb: Any, capsys: pytest.CaptureFixture, *arguments: Any) -> str:
    """Return the last line of a verb that ends with a sentence."""
    with pytest.raises(SystemExit) as end:
        run_verb(verb.main, list(map(str, arguments)))
    assert end.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def assert_refused(text: str, path: Path) -> None:
    assert str(path) in text
    assert re.search(r'requests \S+, but', text)
    assert 'nothing in it was executed' in text


def run_options(work_dir: Path, *options: str) -> list[str]:
    name = f'experiment_name={str(work_dir).replace("/", "_")}'
    return ['--work-dir', str(work_dir), '--cfg-options', name, *options]


def test_the_file_runs_its_code_in_an_unsafe_reader(folder: Path) -> None:
    files = MaliciousFiles(folder)
    assert files.executes(lambda: torch.load(folder / 'evil.pth', weights_only=False))


# The ways in which a config names a checkpoint. Teacher and student are initialized from the same architecture.
TRAININGS: dict[str, Callable[[Path], tuple[str, list[str]]]] = {
    'load_from': lambda evil: ('plain', [f'load_from={evil}']),
    'load_from of a distillation': lambda evil: ('distillation', [f'load_from={evil}']),
    'resume of the config': lambda evil: ('plain', ['resume=True', f'load_from={evil}']),
    'teacher_ckpt': lambda evil: ('distillation', [f'model.teacher_ckpt={evil}']),
    'init_cfg of a model': lambda evil: (
        'plain',
        ['model.init_cfg.type=Pretrained', f'model.init_cfg.checkpoint={evil}'],
    ),
    'init_cfg of a backbone': lambda evil: (
        'plain',
        [
            'model.backbone.init_cfg.type=Pretrained',
            f'model.backbone.init_cfg.checkpoint={evil}',
            'model.backbone.init_cfg.prefix=backbone.',
        ],
    ),
    'init_cfg of the student': lambda evil: (
        'distillation',
        ['model.architecture.init_cfg.type=Pretrained', f'model.architecture.init_cfg.checkpoint={evil}'],
    ),
    'init_cfg of the distillation': lambda evil: (
        'distillation',
        [
            'model.allow_random_teacher=False',
            'model.init_cfg.type=Pretrained',
            f'model.init_cfg.checkpoint={evil}',
        ],
    ),
}


@pytest.mark.parametrize('way', TRAININGS)
def test_train_executes_no_checkpoint(
    way: str, folder: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, options = TRAININGS[way](folder / 'evil.pth')
    text = sentence(train, capsys, folder / f'{config}.py', *run_options(tmp_path, *options))
    assert_refused(text, folder / 'evil.pth')


def test_resume_executes_no_checkpoint(
    folder: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    evil = folder / 'evil.pth'
    assert_refused(sentence(train, capsys, folder / 'plain.py', '--resume', evil, *run_options(tmp_path)), evil)


def test_resume_executes_nothing_in_the_latest_checkpoint(
    folder: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    evil = folder / 'evil.pth'
    (tmp_path / 'last_checkpoint').write_text(str(evil))
    text = sentence(train, capsys, folder / 'plain.py', '--resume', *run_options(tmp_path))
    assert 'contains no checkpoint that can be read' in text
    assert_refused(next(tmp_path.glob('*/*.log')).read_text(), evil)


@pytest.mark.parametrize('config', ['plain', 'distillation'])
def test_test_executes_no_checkpoint(
    config: str, folder: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    evil = folder / 'evil.pth'
    assert_refused(sentence(test, capsys, folder / f'{config}.py', evil, *run_options(tmp_path)), evil)


@pytest.mark.parametrize('kind', CHECKPOINTS)
def test_export_executes_no_file_of_any_format(
    kind: str, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = MaliciousFiles(marker.parent)
    evil = files.checkpoint(tmp_path / 'evil.pth', kind)
    text = sentence(export, capsys, evil, tmp_path / 'student.pth')
    assert str(evil) in text
    assert not (tmp_path / 'student.pth').exists()


@pytest.mark.parametrize('verb', [gradients, padding])
def test_measurements_execute_no_checkpoint(
    verb: Any, folder: Path, marker: Path, capsys: pytest.CaptureFixture
) -> None:
    assert_refused(sentence(verb, capsys, folder / 'distillation.py', folder / 'evil.pth'), folder / 'evil.pth')


def test_distill_executes_no_checkpoint(
    folder: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = folder / 'plain.py'
    text = sentence(distill, capsys, config, config, folder / 'evil.pth', '--work-dir', tmp_path / 'work')
    assert_refused(text, folder / 'evil.pth')


@pytest.mark.training
def test_compare_executes_no_checkpoint(
    folder: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The teacher is read by the training, a process of its own."""
    variant = f'distilled: {folder / "distillation.py"} model.teacher_ckpt={folder / "evil.pth"}'
    chosen = ('--metric', 'accuracy/top1', '--report-on', 'val', '--seeds', '0', '--out', tmp_path / 'out')
    assert_refused(sentence(compare, capsys, variant, *chosen), folder / 'evil.pth')


def test_every_verb_that_reads_a_checkpoint_is_tested() -> None:
    tested = {'train', 'test', 'compare', 'distill', 'export', 'gradients', 'padding'}
    for verb in set(VERBS) - tested:
        source = Path(importlib.import_module(f'lckd_mm.cli.{verb}').__file__).read_text()
        assert 'CHECKPOINT' not in source, verb


def test_no_module_reads_checkpoints_by_itself() -> None:
    """Files are read by the three readers of data; `torch.load`, `pickle.load` and `numpy.load` are called nowhere else."""
    package = Path(importlib.import_module('lckd_mm').__file__).parent
    readers = {'checkpoint.py', 'pickles.py', 'data_files.py'}
    call = re.compile(
        r'torch\.load\(|(?<!_)pickle\.loads?\(|\bnp\.load\(|import joblib|\beval\(|os\.system|shell=True|yaml\.load\('
    )
    for path in package.rglob('*.py'):
        if '.mim' not in path.parts and path.name not in readers:
            # Methods of modules are no calls of the function `eval`.
            code = re.sub(r'``[^`]*``|\.eval\(', '', path.read_text())
            assert not call.search(code), path


def test_predictions_that_test_wrote_are_read_as_data(folder: Path, tmp_path: Path) -> None:
    import mmengine

    out = tmp_path / 'predictions.pkl'
    test.main([str(folder / 'plain.py'), str(folder / 'good.pth'), '--out', str(out), *run_options(tmp_path / 'work')])
    read = mmengine.load(str(out))
    expected = pickle.loads(out.read_bytes())
    assert len(read) == 6
    assert all(torch.equal(ours['pred_score'], theirs['pred_score']) for ours, theirs in zip(read, expected))
