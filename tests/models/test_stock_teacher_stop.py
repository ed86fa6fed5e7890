"""The teacher's forward pass with a distiller of MMRazor ends after the last record that a loss reads."""

from typing import Any

import pytest
import torch
from mmrazor.models.distillers import ConfigurableDistiller

from lckd_mm.models.distillers.distiller_interface import _StockDistiller
from tests.helpers.small_classifiers import build_distillation, classification_batch, classifier


class _CustomDistiller(ConfigurableDistiller):
    """A distiller whose losses may read any recorder."""


def _distiller(**changes: Any) -> dict[str, Any]:
    recorders = dict(maps=dict(type='ModuleOutputs', source='backbone.layer2'))
    records = dict(
        s_feature=dict(from_student=True, recorder='maps'), t_feature=dict(from_student=False, recorder='maps')
    )
    config = dict(
        type='ConfigurableDistiller',
        student_recorders=recorders,
        teacher_recorders=dict(recorders, unread=dict(type='ModuleOutputs', source='head.fc')),
        distill_losses=dict(loss_at=dict(type='ATLoss')),
        loss_forward_mappings=dict(loss_at=records),
    )
    return {**config, **changes}


def _run(distiller: dict[str, Any]) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Return the parts of the teacher that ran after the recorded one, and the losses."""
    model = build_distillation(distiller, teacher=classifier())
    model.init_weights()
    calls: list[str] = []
    for name in ('backbone.layer3', 'head.fc'):
        model.teacher.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    return calls, model.train()(*classification_batch(), mode='loss')


def test_the_pass_ends_after_the_last_record_with_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, losses = _run(_distiller())
    assert calls == []
    monkeypatch.delattr(_StockDistiller, 'make_teacher_stop')
    calls, complete = _run(_distiller())
    assert calls == ['backbone.layer3', 'head.fc']
    assert set(losses) == {'student.loss', 'distill.loss_at'}
    torch.testing.assert_close(losses, complete, rtol=0, atol=0)


def test_the_pass_reaches_every_record() -> None:
    records = dict(
        s_feature=dict(from_student=True, recorder='maps'), t_feature=dict(from_student=False, recorder='maps')
    )
    later = dict(type='ModuleInputs', source='backbone.layer3')
    distiller = _distiller(
        teacher_recorders=dict(maps=dict(type='ModuleOutputs', source='backbone.layer2'), later=later),
        distill_losses=dict(loss_at=dict(type='ATLoss'), loss_later=dict(type='ATLoss')),
        loss_forward_mappings=dict(
            loss_at=records,
            loss_later=dict(records, t_feature=dict(from_student=False, recorder='later', data_idx=0)),
        ),
    )
    calls, losses = _run(distiller)
    assert calls == ['backbone.layer3']
    torch.testing.assert_close(losses['distill.loss_later'], losses['distill.loss_at'])


@pytest.mark.parametrize(
    'changes',
    [
        dict(type=_CustomDistiller),
        dict(
            distill_deliveries=dict(
                act=dict(
                    type='FunctionOutputs',
                    func_path='mmpretrain.models.utils.channel_shuffle.channel_shuffle',
                    max_keep_data=1,
                )
            )
        ),
        dict(
            teacher_recorders=dict(maps=dict(type='Parameter', source='backbone.layer2.0.conv1.weight')),
            student_recorders=dict(maps=dict(type='Parameter', source='backbone.layer2.0.conv1.weight')),
        ),
    ],
    ids=['custom distiller', 'deliveries', 'parameters'],
)
def test_the_pass_is_complete_where_later_parts_may_be_read(changes: dict[str, Any]) -> None:
    calls, _ = _run(_distiller(**changes))
    assert calls == ['backbone.layer3', 'head.fc']
