"""A distillation has the attributes of its student."""

import copy

import pytest
from torch import nn

from tests.helpers.small_classifiers import build_distillation


@pytest.fixture(scope='module')
def model() -> nn.Module:
    return build_distillation()


@pytest.mark.parametrize('name', ['backbone', 'neck', 'head', 'extract_feat', 'get_layer_depth'])
def test_attribute_that_the_distillation_lacks_is_that_of_the_student(model: nn.Module, name: str) -> None:
    assert getattr(model, name) == getattr(model.student, name)


def test_properties_that_tell_which_parts_exist_are_those_of_the_student(model: nn.Module) -> None:
    assert model.with_neck is model.student.with_neck is True
    assert model.with_head is True


def test_attributes_of_the_distillation_have_priority(model: nn.Module) -> None:
    assert model.teacher is not model.student
    assert model.forward.__self__ is model
    assert {'architecture', 'distiller'} <= dict(model.named_children()).keys()
    # The attributes are no modules of the distillation.
    assert not {'backbone', 'head'} & dict(model.named_children()).keys()


@pytest.mark.parametrize('name', ['bbox_head', 'detector', 'module', '_params_init_info', '__len__'])
def test_attribute_that_neither_has_does_not_exist(model: nn.Module, name: str) -> None:
    assert not hasattr(model, name)
    with pytest.raises(AttributeError, match=f"'LipschitzDistill' object has no attribute '{name}'"):
        getattr(model, name)


def test_attribute_that_only_the_student_has_is_set_on_the_student() -> None:
    model = build_distillation()
    model.student.loss_lambda = 0.5
    model.loss_lambda = 0.0
    assert model.student.loss_lambda == 0.0
    head = nn.Identity()
    model.head = head
    assert model.student.head is head
    assert 'head' not in dict(model.named_children())
    model.new = 1
    assert model.new == 1
    assert not hasattr(model.student, 'new')
    model.calculate_student_loss = False
    assert not hasattr(model.student, 'calculate_student_loss')


def test_copy_reads_from_its_own_student() -> None:
    model = build_distillation()
    copied = copy.deepcopy(model)
    assert copied.backbone is copied.student.backbone is not model.backbone
    copied.head = nn.Identity()
    assert model.student.head is not copied.student.head


def test_object_without_attributes_is_examined_without_recursion(model: nn.Module) -> None:
    # `copy` and `pickle` make such objects.
    empty = type(model).__new__(type(model))
    assert not hasattr(empty, 'backbone')
