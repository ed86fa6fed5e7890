"""Checkpoints of students, teachers and distillations that a Runner loads or resumes."""

import copy
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from torch import nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model, export_student
from tests.helpers.small_classifiers import build_distillation, classifier
from tests.helpers.toy_runners import toy_runner

HOOKS = dict(logger=dict(type='LoggerHook', interval=1), checkpoint_match=dict(type='mmrazor.CheckpointMatchHook'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of a trained student, its distillation and its teacher, in which each tensor has its own values."""
    folder = tmp_path_factory.mktemp('checkpoints')
    averages = [dict(type='EMAHook')]
    for name, model in (('plain', build_model(classifier())), ('distillation', build_distillation())):
        options = dict(default_hooks=HOOKS, custom_hooks=averages, train_cfg=dict(by_epoch=True, max_epochs=1))
        toy_runner(model, folder / name, **options).train()
    torch.save(dict(state_dict=build_model(classifier(depth=50)).state_dict()), folder / 'teacher.pth')
    return folder


@pytest.fixture(params=['plain', 'distillation'])
def checkpoint(folder: Path, request: pytest.FixtureRequest) -> Path:
    return folder / request.param / 'epoch_1.pth'


def new_model(kind: str, **changes: Any) -> nn.Module:
    torch.manual_seed(1)
    student = classifier(**changes)
    return build_model(student) if kind == 'plain' else build_distillation(architecture=student)


def loaded(model: nn.Module, path: Path, work_dir: Path, **options: Any) -> Runner:
    """Return a Runner that has loaded a checkpoint as it does before a training or an evaluation."""
    runner = toy_runner(model, work_dir, **{**dict(default_hooks=HOOKS, load_from=str(path)), **options})
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.call_hook('before_run')
    runner.load_or_resume()
    return runner


def student_state(model: nn.Module) -> dict[str, torch.Tensor]:
    return getattr(model, 'architecture', model).state_dict()


def saved_student(path: Path, key: str = 'state_dict') -> dict[str, torch.Tensor]:
    state = {name.removeprefix('module.'): value for name, value in torch.load(path)[key].items()}
    return {name.removeprefix('architecture.'): value for name, value in state.items() if 'distiller' not in name}


def assert_equal(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(dict(actual), {name: expected[name] for name in actual}, rtol=0, atol=0)


@pytest.fixture
def messages() -> Iterator[list[logging.LogRecord]]:
    """What is logged, by the loggers of all Runners."""
    records: list[logging.LogRecord] = []
    handle = MMLogger.handle
    MMLogger.handle = lambda self, record: (records.append(record), handle(self, record))[1]
    yield records
    MMLogger.handle = handle


def warnings_of(records: list[logging.LogRecord]) -> list[str]:
    return [r.getMessage() for r in records if r.levelno == logging.WARNING and r.getMessage().startswith('Loaded')]


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_student_is_loaded_from_both_kinds_of_checkpoints(
    kind: str, checkpoint: Path, tmp_path: Path, messages: list
) -> None:
    model = new_model(kind)
    loaded(model, checkpoint, tmp_path)
    assert_equal(student_state(model), saved_student(checkpoint))
    assert not warnings_of(messages)
    assert any(re.match(r'Loaded (\d+) of the \1 tensors', record.getMessage()) for record in messages)


@pytest.mark.parametrize('form', ['module._orig_mod.', 'raw'])
@pytest.mark.parametrize(('kind', 'source'), [('plain', 'distillation'), ('distillation', 'plain')])
def test_wrapped_and_raw_state_dicts_are_loaded(
    kind: str, source: str, form: str, folder: Path, tmp_path: Path
) -> None:
    checkpoint = folder / source / 'epoch_1.pth'
    prefix = '' if form == 'raw' else form
    state = {prefix + key: value for key, value in torch.load(checkpoint)['state_dict'].items()}
    torch.save(state if form == 'raw' else dict(state_dict=state), tmp_path / 'form.pth')
    model = new_model(kind)
    loaded(model, tmp_path / 'form.pth', tmp_path)
    assert_equal(student_state(model), saved_student(checkpoint))


@pytest.mark.parametrize('raw', [True, False])
@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_averages_of_mmengine_start_from_the_loaded_student(
    kind: str, raw: bool, checkpoint: Path, tmp_path: Path
) -> None:
    path, model = checkpoint, new_model(kind)
    if raw:
        path = tmp_path / 'raw.pth'
        torch.save(torch.load(checkpoint)['state_dict'], path)
    runner = loaded(model, path, tmp_path, custom_hooks=[dict(type='EMAHook')])
    averages = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook').ema_model.module
    assert_equal(student_state(averages), saved_student(checkpoint))


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_averages_of_mmpretrain_are_those_of_the_checkpoint(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    model = new_model(kind)
    runner = loaded(model, checkpoint, tmp_path, custom_hooks=[dict(type='mmpretrain.EMAHook')])
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    # mmengine saves the averages as `state_dict`, and the weights in training as `ema_state_dict`.
    weights, averages = saved_student(checkpoint, 'ema_state_dict'), saved_student(checkpoint)
    assert not torch.equal(weights['head.fc.weight'], averages['head.fc.weight'])
    assert_equal(student_state(hook.ema_model.module), averages)
    assert_equal(dict(model_parameters(model)), weights)
    assert hook.ema_model.steps == torch.load(checkpoint)['ema_state_dict']['steps']


def model_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    yield from ((name, value.detach()) for name, value in getattr(model, 'architecture', model).named_parameters())


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_checkpoint_of_another_width_is_rejected_although_the_bias_of_the_head_fits(
    kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigValueError, match=r"epoch_1.pth' does not match the model: 1 of the 102 tensors"):
        loaded(new_model(kind, base_channels=8), checkpoint, tmp_path)


def test_checkpoint_of_the_teacher_is_named_as_such(folder: Path, tmp_path: Path, messages: list) -> None:
    loaded(new_model('distillation'), folder / 'teacher.pth', tmp_path)
    (warning,) = warnings_of(messages)
    assert 'of the 102 tensors of the student' in warning
    assert 'it is a checkpoint of the teacher: give it as model.teacher_ckpt' in warning
    with pytest.raises(ConfigValueError, match=r'give it as model\.teacher_ckpt'):
        loaded(new_model('distillation', base_channels=8), folder / 'teacher.pth', tmp_path / 'other')


@pytest.mark.parametrize(('kind', 'part'), [('plain', 'backbone'), ('distillation', 'architecture.backbone')])
def test_backbone_without_prefix_is_rejected_with_the_option_that_loads_it(
    kind: str, part: str, folder: Path, tmp_path: Path
) -> None:
    torch.save(build_model(classifier()).backbone.state_dict(), tmp_path / 'backbone.pth')
    with pytest.raises(ConfigValueError, match=rf"0 of the 102 .* set model\.{part}\.init_cfg=dict\(type='Pretrained'"):
        loaded(new_model(kind), tmp_path / 'backbone.pth', tmp_path)


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_backbone_with_prefix_is_loaded_with_a_warning(
    kind: str, checkpoint: Path, tmp_path: Path, messages: list
) -> None:
    state = {key: value for key, value in saved_student(checkpoint).items() if key.startswith('backbone.')}
    torch.save(dict(state_dict=state), tmp_path / 'backbone.pth')
    model = new_model(kind)
    loaded(model, tmp_path / 'backbone.pth', tmp_path)
    assert_equal({key: value for key, value in student_state(model).items() if key in state}, state)
    (warning,) = warnings_of(messages)
    assert warning.startswith('Loaded only 100 of the 102 tensors')
    assert '2 (head.fc.weight, head.fc.bias) are missing in the file' in warning


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_another_number_of_classes_is_counted_apart(
    kind: str, checkpoint: Path, tmp_path: Path, messages: list
) -> None:
    loaded(new_model(kind, num_classes=5), checkpoint, tmp_path)
    (warning,) = warnings_of(messages)
    assert (
        '2 (head.fc.weight, head.fc.bias) have another shape (head.fc.weight: (3, 32) in the file, (5, 32)' in warning
    )
    assert 'missing' not in warning


@pytest.mark.parametrize('content', [dict(model={}), dict(state_dict={}), [1], dict(state_dict=3)])
def test_file_without_state_dict_is_rejected(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(ConfigValueError, match=r"other.pth' (contains no state dict|.* contains no tensors)"):
        loaded(new_model('plain'), tmp_path / 'other.pth', tmp_path)


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_keys_that_the_model_renames_while_it_loads_are_accepted(
    kind: str, checkpoint: Path, tmp_path: Path, messages: list
) -> None:
    """As in mmpretrain's TimmClassifier, and in the models that resize position embeddings."""

    def rename(state: dict, prefix: str, *_: Any) -> None:
        for key in [key for key in state if key.startswith(f'{prefix}old.')]:
            state[prefix + key.removeprefix(f'{prefix}old.')] = state.pop(key)

    model = new_model(kind)
    getattr(model, 'architecture', model)._register_load_state_dict_pre_hook(rename)
    state = {f'old.{key}': value for key, value in saved_student(checkpoint).items()}
    torch.save(dict(state_dict=state), tmp_path / 'old.pth')
    loaded(model, tmp_path / 'old.pth', tmp_path)
    assert_equal(student_state(model), saved_student(checkpoint))
    assert not warnings_of(messages)


def test_algorithm_of_mmrazor_loads_a_student_alone(folder: Path, tmp_path: Path) -> None:
    from mmrazor.models.algorithms import SingleTeacherDistill

    path = folder / 'plain' / 'epoch_1.pth'
    distiller = dict(type='ConfigurableDistiller', student_recorders=dict(), teacher_recorders=dict())
    networks = dict(architecture=build_model(classifier()), teacher=build_model(classifier(depth=50)))
    model = SingleTeacherDistill(distiller=distiller, **networks)
    before = copy.deepcopy(model.teacher.state_dict())
    loaded(model, path, tmp_path)
    assert_equal(student_state(model), saved_student(path))
    assert_equal(model.teacher.state_dict(), before)


class Augmented(BaseTTAModel):
    """Test-time augmentation without a rule for merging."""

    def merge_preds(self, data_samples_list: list) -> list:
        return data_samples_list


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_model_in_test_time_augmentation_is_loaded(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    model = new_model(kind)
    loaded(Augmented(model), checkpoint, tmp_path)
    assert_equal(student_state(model), saved_student(checkpoint))
    with pytest.raises(ConfigValueError, match='does not match the model'):
        loaded(Augmented(new_model(kind, base_channels=8)), checkpoint, tmp_path / 'other')


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_training_is_resumed_only_from_its_own_kind_of_checkpoint(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    model = new_model(kind)
    if checkpoint.parent.name == kind:
        runner = loaded(model, checkpoint, tmp_path, resume=True)
        assert runner.epoch == 1
        assert_equal(student_state(model), saved_student(checkpoint))
        return
    with pytest.raises(ConfigValueError, match=r'cannot resume the training of .*: start a new training .* load_from='):
        loaded(model, checkpoint, tmp_path, resume=True)


def test_latest_checkpoint_of_the_work_directory_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / 'last_checkpoint').write_text(str(folder / 'plain' / 'epoch_1.pth'))
    with pytest.raises(ConfigValueError, match=r"plain/epoch_1\.pth' is a checkpoint of a model alone"):
        loaded(new_model('distillation'), None, tmp_path, resume=True, load_from=None)


def test_exported_student_cannot_resume(folder: Path, tmp_path: Path) -> None:
    export_student(folder / 'distillation' / 'epoch_1.pth', tmp_path / 'student.pth')
    with pytest.raises(ConfigValueError, match=r'contains no state of a training \(message_hub missing\)'):
        loaded(new_model('plain'), tmp_path / 'student.pth', tmp_path, resume=True)


@pytest.mark.parametrize('kind', ['plain', 'distillation'])
def test_training_with_another_head_cannot_be_resumed(kind: str, folder: Path, tmp_path: Path) -> None:
    message = r'cannot resume this training, .*: (architecture\.)?head\.fc\.weight is \(3, 32\) in the file and \(5, 32\) in the model'
    with pytest.raises(ConfigValueError, match=message):
        loaded(new_model(kind, num_classes=5), folder / kind / 'epoch_1.pth', tmp_path, resume=True)


def test_exported_student_keeps_the_versions_of_its_modules(folder: Path, tmp_path: Path) -> None:
    export_student(folder / 'distillation' / 'epoch_1.pth', tmp_path / 'student.pth')
    state = torch.load(tmp_path / 'student.pth')['state_dict']
    assert state._metadata == new_model('plain').state_dict()._metadata


def test_hook_is_removed_from_the_model_after_the_check(folder: Path, tmp_path: Path) -> None:
    model = new_model('plain')
    loaded(model, folder / 'plain' / 'epoch_1.pth', tmp_path)
    assert not model._load_state_dict_post_hooks
    # Other checkpoints are loaded as before.
    copy.deepcopy(model).load_state_dict(model.state_dict())
