import os

import pytest
import torch

from tests.helpers.small_classifiers import (
    build_distillation,
)


@pytest.fixture
def teacher_state() -> dict:
    return build_distillation().teacher.state_dict()


def _rejection(path, error: type = ValueError) -> str:
    with pytest.raises(error) as caught:
        build_distillation(teacher_ckpt=str(path), allow_random_teacher=False).init_weights()
    return str(caught.value)


def test_teacher_checkpoint_is_loaded_exactly(teacher_state, tmp_path) -> None:
    changed = {k: v + 1 if v.is_floating_point() else v for k, v in teacher_state.items()}
    torch.save(dict(state_dict={f'module.{k}': v for k, v in changed.items()}), tmp_path / 'teacher.pth')
    model = build_distillation(teacher_ckpt=str(tmp_path / 'teacher.pth'), allow_random_teacher=False)
    model.init_weights()
    torch.testing.assert_close(dict(model.teacher.state_dict()), changed, rtol=0, atol=0)
    assert not model.teacher.training


def test_distilled_student_is_loaded_as_teacher(teacher_state, tmp_path) -> None:
    torch.save(dict(state_dict={f'architecture.{k}': v for k, v in teacher_state.items()}), tmp_path / 'distilled.pth')
    build_distillation(teacher_ckpt=str(tmp_path / 'distilled.pth'), allow_random_teacher=False).init_weights()


def test_missing_teacher_checkpoint_is_rejected() -> None:
    assert 'nowhere.pth' in _rejection('nowhere.pth', FileNotFoundError)


def test_unreadable_teacher_checkpoint_is_rejected(tmp_path) -> None:
    (tmp_path / 'cut.pth').write_bytes(b'PK\x03\x04 cut off')
    assert 'cannot be read' in _rejection(tmp_path / 'cut.pth')


def test_mismatched_teacher_checkpoint_lists_the_keys(teacher_state, tmp_path) -> None:
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict=dict(teacher_state, **{'head.fc.weight': torch.zeros(9, 128)})), path)
    said = _rejection(path)
    assert '1 (head.fc.weight) have another shape (head.fc.weight: (9, 128) in the file, (3, 128) in the model)' in said

    torch.save(
        dict(state_dict={k: v for k, v in teacher_state.items() if 'fc' not in k} | {'extra': torch.zeros(1)}), path
    )
    said = _rejection(path)
    assert '2 (head.fc.weight, head.fc.bias) are missing' in said
    assert '1 (extra) are not in the model' in said


class _Code:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f'touch {self.marker}',)


@pytest.mark.parametrize('zipped', [True, False])
def test_teacher_checkpoint_with_code_is_rejected_and_not_executed(teacher_state, tmp_path, zipped) -> None:
    path, marker = tmp_path / 'code.pth', tmp_path / 'ran'
    torch.save(dict(state_dict=teacher_state, meta=_Code(str(marker))), path, _use_new_zipfile_serialization=zipped)
    assert 'system' in _rejection(path)
    assert not marker.exists()


def test_the_teacher_in_the_checkpoint_that_initializes_the_algorithm_is_loaded(teacher_state, tmp_path) -> None:
    # MMRazor's second stages name no other checkpoint of the teacher.
    changed = {k: v + 1 if v.is_floating_point() else v for k, v in teacher_state.items()}
    student = {f'architecture.{k}': v for k, v in build_distillation().student.state_dict().items()}
    path = tmp_path / 'first_stage.pth'
    torch.save(dict(state_dict={**{f'teacher.{k}': v for k, v in changed.items()}, **student}), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    for init in (init_cfg, [init_cfg]):
        model = build_distillation(init_cfg=init, allow_random_teacher=False)
        model.init_weights()
        torch.testing.assert_close(dict(model.teacher.state_dict()), changed, rtol=0, atol=0)

    torch.save(dict(state_dict=student), path)
    with pytest.raises(ValueError, match='teacher_ckpt is None'):
        build_distillation(init_cfg=init_cfg, allow_random_teacher=False).init_weights()
    changed.popitem()
    torch.save(dict(state_dict={f'teacher.{k}': v for k, v in changed.items()}), path)
    with pytest.raises(ValueError, match='are missing'):
        build_distillation(init_cfg=init_cfg, allow_random_teacher=False).init_weights()
