"""The validation of student and teacher changes neither network."""

from pathlib import Path
from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
import torch
from mmengine.hooks import EMAHook
from torch import Tensor, nn

from tests.helpers.small_classifiers import build_distillation, classifier
from tests.helpers.toy_runners import toy_runner


@pytest.fixture
def teacher_ckpt(tmp_path: Path) -> str:
    teacher = build_distillation().teacher
    for value in teacher.state_dict().values():
        if value.is_floating_point():
            value.add_(0.01)
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=teacher.state_dict()), path)
    return str(path)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def _compare_around_validation(runner: Any) -> list[tuple[list, list]]:
    """Return a list to which each validation of the Runner adds the states of both networks before and after it."""
    states: list[tuple[list, list]] = []
    run, model = runner.val_loop.run, runner.model

    def watched() -> Any:
        before = [_state(model.student), _state(model.teacher)]
        result = run()
        states.append((before, [_state(model.student), _state(model.teacher)]))
        return result

    runner.val_loop.run = watched
    return states


@pytest.mark.parametrize('loop', ['ValLoop', 'SingleTeacherDistillValLoop'])
@pytest.mark.parametrize('update_buffers', [False, True])
def test_a_validation_with_weight_averages_changes_neither_network(
    teacher_ckpt: str, tmp_path: Path, loop: str, update_buffers: bool
) -> None:
    loaded = torch.load(teacher_ckpt, weights_only=True)['state_dict']
    model = build_distillation(teacher_ckpt=teacher_ckpt, allow_random_teacher=False)
    ema = dict(type='EMAHook', update_buffers=update_buffers)
    runner = toy_runner(model, tmp_path / 'run', custom_hooks=[ema], val_cfg=dict(type=loop))
    states = _compare_around_validation(runner)
    runner.train()
    assert len(states) == 2
    for before, after in states:
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    torch.testing.assert_close(runner.model.teacher.state_dict(), loaded, rtol=0, atol=0)
    averaged = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model
    assert not any('teacher' in name for name in averaged.state_dict())


def test_the_teacher_is_evaluated_as_it_is_alone(teacher_ckpt: str, tmp_path: Path) -> None:
    options = dict(teacher_ckpt=teacher_ckpt, allow_random_teacher=False)
    # The student normalizes the pixels, the teacher does not.
    pixels = dict(mean=[127.0] * 3, std=[60.0] * 3)
    student = dict(classifier(), data_preprocessor=dict(type='ClsDataPreprocessor', **pixels))
    teacher = dict(classifier(depth=50), data_preprocessor=dict(type='ClsDataPreprocessor'))
    model = build_distillation(architecture=student, teacher=teacher, **options)
    alone = model.teacher.data_preprocessor
    runner = toy_runner(model, tmp_path / 'run', val_cfg=dict(type='SingleTeacherDistillValLoop'))
    runner.train()
    assert runner.model.teacher.data_preprocessor is alone
