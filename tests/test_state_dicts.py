"""Keys and versions of state dicts of a student, and of its distillation."""

import copy

import pytest
import torch
from torch import nn

from lckd_mm.state_dicts import TensorWrites, match_student, select_student, unwrap_keys
from tests.helpers.small_classifiers import build_distillation


@pytest.fixture(scope='module')
def distillation() -> nn.Module:
    return build_distillation()


def test_states_of_student_and_distillation_are_matched_with_their_module_versions(distillation: nn.Module) -> None:
    whole, alone = distillation.state_dict(), distillation.architecture.state_dict()
    selected = match_student(whole, distillation.architecture)
    assert list(selected) == list(alone)
    assert selected._metadata == alone._metadata
    added = match_student(alone, distillation)
    assert set(added) == {key for key in whole if key.startswith('architecture.')}
    assert added._metadata.items() <= whole._metadata.items()


def test_matching_states_stay_the_same_object(distillation: nn.Module) -> None:
    for model in (distillation, distillation.architecture):
        state = model.state_dict()
        assert match_student(state, model) is state


def test_caller_keeps_its_state(distillation: nn.Module) -> None:
    state = distillation.architecture.state_dict()
    keys, metadata = list(state), copy.deepcopy(state._metadata)
    match_student(state, distillation)
    assert list(state) == keys
    assert state._metadata == metadata


@pytest.mark.parametrize('wrapper', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_prefixes_of_wrappers_are_removed(distillation: nn.Module, wrapper: str) -> None:
    whole = {wrapper + key: value for key, value in distillation.state_dict().items()}
    assert list(match_student(whole, distillation.architecture)) == list(distillation.architecture.state_dict())
    assert list(unwrap_keys({f'{wrapper}backbone._orig_mod.fc.weight': 1})) == ['backbone.fc.weight']
    assert list(unwrap_keys({'backbone.my_orig_mod.weight': 1})) == ['backbone.my_orig_mod.weight']


def test_compiled_model_keeps_its_prefixes(distillation: nn.Module) -> None:
    compiled = torch.compile(copy.deepcopy(distillation.architecture), backend='eager')
    state = compiled.state_dict()
    assert match_student(state, compiled) is state


def test_parts_of_a_distillation_are_not_added_to_the_student() -> None:
    student = nn.ModuleDict(dict(teacher=nn.Linear(1, 1)))
    model = nn.ModuleDict(dict(architecture=student, teacher=nn.Linear(1, 1), distiller=nn.Linear(1, 1)))
    state = {'teacher.weight': 1, 'distiller.weight': 2}
    # A student of mmdet's semi-supervised detectors has a teacher of its own.
    assert list(match_student(state, model)) == ['architecture.teacher.weight', 'distiller.weight']


def test_old_checkpoint_without_versions_has_none() -> None:
    assert not hasattr(select_student({'architecture.fc.weight': 1}), '_metadata')


def test_writes_are_told_apart_by_tensor(distillation: nn.Module) -> None:
    model = copy.deepcopy(distillation.architecture)
    writes = TensorWrites(model)
    assert writes.written() == []
    with torch.no_grad():
        model.backbone.conv1.weight.zero_()
    model.head.fc.bias = nn.Parameter(torch.zeros(3))
    assert set(writes.written()) == {'backbone.conv1.weight', 'head.fc.bias'}
    assert set(writes.written()) | set(writes.untouched()) == set(writes.shapes())
    assert not any('num_batches_tracked' in key for key in writes.shapes())


def test_all_parameters_and_persistent_buffers_are_observed(distillation: nn.Module) -> None:
    model = copy.deepcopy(distillation.architecture)
    expected = {key for key in model.state_dict() if 'num_batches_tracked' not in key}
    # As a model with LoRA does, whose checkpoints contain only the added weights.
    model._register_state_dict_hook(lambda *_: {})
    assert set(TensorWrites(model).shapes()) == expected
