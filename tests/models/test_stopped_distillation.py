"""A distillation that StopDistillHook has stopped is a training of the student alone."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmrazor.engine.hooks import StopDistillHook
from torch import nn

from lckd_mm.models.algorithms.zero_gradients import add_zero_gradients
from tests.helpers.runners import fake_runner
from tests.helpers.small_classifiers import build_distillation, spectral_distiller, train_step


def stop(model: nn.Module, **attributes: Any) -> SimpleNamespace:
    runner = fake_runner(model, **{**dict(epoch=3), **attributes})
    StopDistillHook(stop_epoch=3).before_train_epoch(runner)
    return runner


def test_teacher_and_adapters_do_not_run_after_the_stop(batch: tuple) -> None:
    model = build_distillation()
    model.init_weights()
    train_step(model, batch)
    stop(model)
    ran: list[nn.Module] = []
    for module in (model.teacher.backbone.conv1, *model.distiller.adapters.values()):
        module.register_forward_hook(lambda module, *_: ran.append(module))
    model.zero_grad()
    losses = train_step(model, batch)
    assert list(losses) == ['student.loss']
    assert ran == []
    assert all(p.grad is not None for p in model.student.parameters())
    assert all(p.grad is None for p in model.distiller.parameters())


@pytest.mark.parametrize('kind', ['LipschitzDistiller', 'ConfigurableDistiller'])
def test_records_and_norms_of_the_last_batch_are_cleared(kind: str, batch: tuple) -> None:
    distiller = spectral_distiller(type=kind)
    if kind == 'ConfigurableDistiller':
        recorders = {'backbone': dict(type='ModuleOutputs', source='backbone.layer4')}
        sides = dict(preds_S=True, preds_T=False)
        record = dict(recorder='backbone', connector='pool')
        distiller = dict(
            type=kind,
            student_recorders=recorders,
            teacher_recorders=recorders,
            connectors=dict(pool=dict(type='GlobalPoolConnector')),
            distill_losses=dict(loss_kd=dict(type='KLDivergence')),
            loss_forward_mappings=dict(loss_kd={name: dict(record, from_student=side) for name, side in sides.items()}),
        )
    model = build_distillation(distiller)
    model.init_weights()
    managers = (model.distiller.student_recorders, model.distiller.teacher_recorders)
    with managers[0], managers[1], torch.no_grad():
        model.teacher(*batch, mode='tensor')
        model.student(*batch, mode='tensor')
    assert all(recorder.data_buffer for manager in managers for recorder in manager.recorders.values())
    stop(model)
    train_step(model, batch)
    assert not any(recorder.data_buffer for manager in managers for recorder in manager.recorders.values())
    assert not getattr(model.distiller, 'spectral_norms', {})


def test_teacher_that_is_trained_continues_to_be_trained(batch: tuple) -> None:
    model = build_distillation(teacher_trainable=True)
    model.init_weights()
    stop(model)
    losses = train_step(model, batch)
    assert list(losses) == ['teacher.loss', 'student.loss']
    assert all(p.grad is not None for p in model.teacher.parameters())


def test_zero_gradients_change_no_value_and_reach_every_parameter() -> None:
    used, unused = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.full((3,), torch.nan))
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    losses = add_zero_gradients(
        dict(accuracy=torch.ones(1), loss_boxes=[used.square(), used], loss=used), [unused, frozen]
    )
    assert [value.item() for value in losses['loss_boxes']] == [4.0, 2.0]
    sum(losses['loss_boxes']).backward()
    assert used.grad.item() == 5.0
    assert unused.grad.tolist() == [0.0, 0.0, 0.0]
    assert frozen.grad is None
