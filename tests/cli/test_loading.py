"""Checkpoints of a student and of its distillation, given to `train` and `test` as a user gives them."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lckd_mm.cli import export, test, train
from lckd_mm.cli.entry import run_verb
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import build_distillation, classifier, distillation_config
from tests.helpers.tiny_configs import write_config, write_images

EVALUATION = """
test_dataloader = train_dataloader
test_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=False)
test_cfg = dict()
test_evaluator = dict(type='Accuracy', topk=(1,))
"""
# The weights do not change in a training.
FROZEN = 'optim_wrapper.optimizer.lr=0'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configs, and checkpoints of their models whose heads always select the second of three classes."""
    folder = tmp_path_factory.mktemp('loading')
    write_images(folder)
    for name, model in (('plain', classifier()), ('distillation', distillation_config())):
        with write_config(folder, model, f'{name}.py').open('a') as file:
            file.write(EVALUATION)
    for name, network in (('plain', build_model(classifier())), ('distillation', build_distillation())):
        save(network, folder / f'{name}.pth')
    return folder


def save(model: nn.Module, path: Path) -> None:
    with torch.no_grad():
        getattr(model, 'architecture', model).head.fc.bias.copy_(torch.tensor([0.0, 100, 0]))
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)


def options(work_dir: Path, *values: Any) -> list[str]:
    """Return arguments; mmengine has one logger for each name in a process."""
    name = f'experiment_name={str(work_dir).replace("/", "_")}'
    return ['--work-dir', str(work_dir), '--cfg-options', name, *map(str, values)]


def log_of(work_dir: Path) -> str:
    return next(work_dir.glob('*/*.log')).read_text()


def sentence(verb: Any, arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    """Return the sentence with which a verb ends."""
    with pytest.raises(SystemExit) as end:
        run_verb(verb.main, arguments)
    assert end.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ('kind', 'checkpoint'),
    [('plain', 'distillation.pth'), ('distillation', 'plain.pth'), ('distillation', 'student.pth')],
)
def test_student_is_evaluated_from_each_kind_of_checkpoint(
    kind: str, checkpoint: str, folder: Path, tmp_path: Path
) -> None:
    if checkpoint == 'student.pth':
        export.main([str(folder / 'distillation.pth'), str(folder / checkpoint)])
    test.main(
        [str(folder / f'{kind}.py'), str(folder / checkpoint), '--out', str(tmp_path / 'out.pkl'), *options(tmp_path)]
    )
    log = log_of(tmp_path)
    assert re.search(r'Loaded 102 of the 102 tensors', log)
    # Two of six images are of the second class; random weights select one class as well, but not for certain this one.
    assert 'accuracy/top1: 33.3333' in log
    import pickle

    predictions = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert [int(sample['pred_label']) for sample in predictions] == [1] * 6


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_evaluation_of_another_model_ends_with_one_sentence(
    kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    save(build_model(classifier(base_channels=8)), tmp_path / 'wide.pth')
    arguments = [str(folder / f'{kind}.py'), str(tmp_path / 'wide.pth'), *options(tmp_path)]
    assert "wide.pth' does not match the model: 1 of the 102 tensors" in sentence(test, arguments, capsys)


@pytest.mark.parametrize(('kind', 'checkpoint'), [('plain', 'distillation.pth'), ('distillation', 'plain.pth')])
def test_training_starts_from_the_other_kind_of_checkpoint(
    kind: str, checkpoint: str, folder: Path, tmp_path: Path
) -> None:
    train.main([str(folder / f'{kind}.py'), *options(tmp_path, FROZEN, f'load_from={folder / checkpoint}')])
    assert saved_head(tmp_path).tolist() == [0, 100, 0]


def saved_head(work_dir: Path) -> torch.Tensor:
    state = torch.load(work_dir / 'epoch_1.pth')['state_dict']
    return next(value for key, value in state.items() if key.removeprefix('architecture.') == 'head.fc.bias')


def test_load_from_has_priority_over_the_initialization_of_the_student(folder: Path, tmp_path: Path) -> None:
    other = build_model(classifier())
    with torch.no_grad():
        other.head.fc.bias.copy_(torch.tensor([1.0, 2, 3]))
    torch.save(dict(state_dict=other.state_dict()), tmp_path / 'other.pth')
    key = 'model.architecture.init_cfg'
    pretrained = (f'{key}.type=Pretrained', f'{key}.checkpoint={tmp_path / "other.pth"}')
    config = str(folder / 'distillation.py')
    train.main([config, *options(tmp_path / 'a', FROZEN, *pretrained)])
    assert saved_head(tmp_path / 'a').tolist() == [1, 2, 3]
    train.main([config, *options(tmp_path / 'b', FROZEN, *pretrained, f'load_from={folder / "plain.pth"}')])
    assert saved_head(tmp_path / 'b').tolist() == [0, 100, 0]


@pytest.mark.parametrize(('kind', 'checkpoint'), [('plain', 'distillation.pth'), ('distillation', 'plain.pth')])
def test_resume_from_the_other_kind_ends_with_one_sentence(
    kind: str, checkpoint: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [str(folder / f'{kind}.py'), '--resume', str(folder / checkpoint), *options(tmp_path)]
    assert f"start a new training from its weights, with load_from='{folder / checkpoint}'" in sentence(
        train, arguments, capsys
    )


def test_evaluation_with_resume_in_the_config_needs_no_state_of_a_training(folder: Path, tmp_path: Path) -> None:
    test.main([str(folder / 'plain.py'), str(folder / 'distillation.pth'), *options(tmp_path, 'resume=True')])
    assert 'Loaded 102 of the 102 tensors' in log_of(tmp_path)


def test_check_is_switched_off_by_its_name(folder: Path, tmp_path: Path) -> None:
    save(build_model(classifier(base_channels=8)), tmp_path / 'wide.pth')
    off = 'default_hooks.checkpoint_match=None'
    test.main([str(folder / 'plain.py'), str(tmp_path / 'wide.pth'), *options(tmp_path / 'work', off)])
    assert 'accuracy/top1' in (log := log_of(tmp_path / 'work'))
    assert 'CheckpointMatchHook' not in log
