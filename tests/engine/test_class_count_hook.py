from types import SimpleNamespace
from typing import Any

import pytest
from mmdet.models.dense_heads import RPNHead
from torch import nn

from lckd_mm.engine.hooks import ClassCountHook
from lckd_mm.errors import ConfigValueError


def _runner(model: nn.Module, train: Any = ('a', 'b', 'c'), val: Any = ('a', 'b', 'c')) -> SimpleNamespace:
    loaders = [SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=c) if c else {})) for c in (train, val)]
    return SimpleNamespace(model=model, train_dataloader=loaders[0], val_dataloader=loaders[1], val_loop=object())


def _model(num_classes: int) -> nn.Module:
    model = nn.Module()
    model.roi_head = nn.Module()
    model.roi_head.bbox_head = nn.Module()
    model.roi_head.bbox_head.num_classes = num_classes
    # It distinguishes objects from background and has one class for all data sets.
    model.rpn_head = RPNHead(in_channels=4, feat_channels=4, num_classes=1)
    return model


def test_matching_heads_and_data_without_class_names_are_accepted() -> None:
    ClassCountHook().before_train(_runner(_model(3)))
    ClassCountHook().before_train(_runner(_model(5), train=None, val=None))


@pytest.mark.parametrize('num_classes', [2, 4])
def test_another_number_of_classes_is_rejected_with_the_option_to_set(num_classes: int) -> None:
    message = rf'roi_head.bbox_head has num_classes={num_classes}.*3 classes \(a, b, c\).*bbox_head.num_classes=3'
    with pytest.raises(ConfigValueError, match=message):
        ClassCountHook().before_train(_runner(_model(num_classes)))


def test_only_the_student_of_a_distillation_is_checked() -> None:
    distillation = nn.Module()
    distillation.architecture, distillation.teacher = _model(3), _model(80)
    ClassCountHook().before_train(_runner(distillation))
    distillation.architecture = _model(80)
    with pytest.raises(ConfigValueError, match='num_classes=80'):
        ClassCountHook().before_train(_runner(distillation))


def test_validation_data_with_other_classes_are_rejected() -> None:
    with pytest.raises(ConfigValueError, match=r'validation data have 5 classes \(a, b, c, d, \.\.\.\).*same classes'):
        ClassCountHook().before_train(_runner(_model(3), val=tuple('abcde')))


def test_heads_in_lists_are_checked() -> None:
    model = nn.Module()
    model.roi_head = nn.Module()
    model.roi_head.bbox_head = nn.ModuleList(_model(count).roi_head.bbox_head for count in (3, 3, 80))
    with pytest.raises(ConfigValueError, match=r'^roi_head.bbox_head.2 has num_classes=80.*bbox_head.2.num_classes=3'):
        ClassCountHook().before_train(_runner(model))


@pytest.mark.parametrize(
    'attributes',
    [dict(class_agnostic=True), dict(with_cls=False)],
)
def test_heads_without_the_classes_of_the_data_are_accepted(attributes: dict) -> None:
    model = _model(80)
    for name, value in attributes.items():
        setattr(model.roi_head.bbox_head, name, value)
    ClassCountHook().before_train(_runner(model))


@pytest.mark.parametrize(
    ('num_classes', 'classes', 'is_accepted'), [(2, 'ab', 1), (1, 'ab', 1), (2, 'a', 1), (2, 'abc', 0)]
)
def test_one_output_channel_is_a_binary_segmentation(num_classes: int, classes: str, is_accepted: int) -> None:
    model = nn.Module()
    model.decode_head = nn.Module()
    model.decode_head.num_classes, model.decode_head.out_channels = num_classes, 1
    if is_accepted:
        ClassCountHook().before_train(_runner(model, classes, classes))
    else:
        with pytest.raises(ConfigValueError, match='decode_head has num_classes=2'):
            ClassCountHook().before_train(_runner(model, classes, classes))


def test_classes_that_a_text_names_are_not_compared() -> None:
    model = _model(80)
    model.language_model = nn.Module()
    ClassCountHook().before_train(_runner(model))


def test_a_tracker_is_validated_on_data_with_other_classes() -> None:
    model = _model(3)
    with pytest.raises(ConfigValueError, match='validation data have 2'):
        ClassCountHook().before_train(_runner(model, val='ab'))
    model.tracker = object()
    ClassCountHook().before_train(_runner(model, val='ab'))
