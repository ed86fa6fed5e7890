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
