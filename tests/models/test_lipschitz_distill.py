import copy

import pytest
import torch

from lckd_mm.errors import ConfigRuntimeError
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import (
    build_distillation,
    classifier,
    ofd_distiller,
    spectral_distiller,
    train_step,
)


def test_gradients_reach_student_and_adapters_but_not_the_teacher(batch) -> None:
    model = build_distillation()
    model.init_weights()
    before = copy.deepcopy(model.teacher.state_dict())
    losses = train_step(model, batch)
    assert losses['distill.loss_lipschitz'] > 0
    assert all(p.grad is not None for p in model.student.parameters())
    assert [a.conv.out_channels for a in model.distiller.adapters.values()] == [16, 32, 64, 128]
    assert all(p.grad.abs().sum() > 0 for a in model.distiller.adapters.values() for p in [a.conv.weight])
    assert all(p.grad is None for p in model.teacher.parameters())
    torch.testing.assert_close(model.teacher.state_dict(), before, rtol=0, atol=0)


def test_stopped_teacher_records_identical_maps_and_skips_the_head(batch) -> None:
    model = build_distillation()
    model.init_weights()
    ran = []
    model.teacher.head.register_forward_hook(lambda *_: ran.append('head'))
    recorders = model.distiller.teacher_recorders

    def records(function) -> list:
        with recorders, torch.no_grad():
            function()
        return [r.get_record_data() for r in recorders.recorders.values()]

    stopped = records(lambda: model._teacher_stop.run(model.teacher, *batch, mode='loss'))
    assert ran == []
    whole = records(lambda: model.teacher(*batch, mode='tensor'))
    assert all(torch.equal(a, b) for a, b in zip(stopped, whole))
    assert len(stopped) == 4


def test_stock_configurable_distiller_works_with_connector_and_loss(batch) -> None:
    recorder = dict(backbone=dict(type='ModuleOutputs', source='backbone'))
    distiller = spectral_distiller(type='ConfigurableDistiller', student_recorders=recorder, teacher_recorders=recorder)
    del distiller['taps']
    for record in distiller['loss_forward_mappings']['loss_lipschitz'].values():
        record['recorder'] = 'backbone'
    every_stage = classifier()
    every_stage['backbone']['out_indices'] = (0, 1, 2, 3)
    model = build_distillation(distiller, architecture=every_stage, teacher=copy.deepcopy(every_stage))
    model.init_weights()
    assert train_step(model, batch)['distill.loss_lipschitz'].isfinite()


def test_checkpoint_contains_no_teacher_and_loads_strictly() -> None:
    model = build_distillation()
    state = model.state_dict()
    assert not any(k.startswith('teacher.') for k in state)
    assert any(k.startswith('distiller.adapters.tap0') for k in state)
    result = build_distillation().load_state_dict(state)
    assert not result.missing_keys
    assert not result.unexpected_keys


def test_random_teacher_is_rejected_unless_allowed(batch) -> None:
    model = build_distillation(allow_random_teacher=False)
    with pytest.raises(ValueError, match='teacher_ckpt is None'):
        model.init_weights()
    with pytest.raises(RuntimeError, match='init_weights'):
        model(*batch, mode='loss')


def test_untyped_data_preprocessor_configures_the_students(caplog) -> None:
    model = build_distillation(data_preprocessor=dict(num_classes=3, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]))
    assert type(model.data_preprocessor) is type(model.student.data_preprocessor)
    assert model.data_preprocessor.mean.flatten().tolist() == [1.0, 2.0, 3.0]


def test_recorders_are_reattached_to_modules_that_the_runner_replaced(batch) -> None:
    # Without a process group mmengine's Runner makes a BN of every SyncBN, after the model was built.
    from mmengine.model import revert_sync_batchnorm

    sync = classifier(18)
    sync['backbone']['norm_cfg'] = dict(type='SyncBN', requires_grad=True)
    model = build_distillation(
        ofd_distiller(taps=['backbone.layer3', 'backbone.layer4.1.bn1']),
        architecture=sync,
        teacher=copy.deepcopy(sync),
    )
    model = revert_sync_batchnorm(model)
    model.init_weights()
    losses = train_step(model, batch)
    assert losses['distill.loss_lipschitz'] > 0
    assert model._teacher_stop.run(model.teacher, batch[0]) is False
    with model.distiller.teacher_recorders:
        assert model._teacher_stop.run(model.teacher, batch[0]) is True


def test_student_starts_with_the_weights_and_random_numbers_of_a_plain_training() -> None:
    torch.manual_seed(0)
    alone = build_model(classifier())
    alone.init_weights()
    drawn = torch.rand(3)
    model = build_distillation(spectral_distiller(adapters=True))
    model.init_weights()
    torch.testing.assert_close(torch.rand(3), drawn)
    assert all(torch.equal(p, q) for p, q in zip(model.architecture.parameters(), alone.parameters()))
    # The rest was initialised after it.
    assert all(module.is_init for module in (model.architecture, model.teacher))


_PIXELS = dict(mean=[10.0, 20.0, 30.0], std=[40.0, 50.0, 60.0])


@pytest.mark.parametrize('typed', [False, True])
@pytest.mark.parametrize('own', [False, True])
def test_data_preprocessor_at_the_top_level_keeps_the_students_recipe(typed: bool, own: bool) -> None:
    student = dict(
        classifier(), train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)])
    )
    if own:
        student['data_preprocessor'] = dict(type='ClsDataPreprocessor', **_PIXELS)
    data_preprocessor = dict(_PIXELS, **(dict(type='ClsDataPreprocessor') if typed else {}))
    model = build_distillation(architecture=student, data_preprocessor=data_preprocessor)
    assert model.data_preprocessor is model.architecture.data_preprocessor
    assert [type(a).__name__ for a in model.data_preprocessor.batch_augments.augments] == ['Mixup', 'CutMix']
    assert model.data_preprocessor.mean.flatten().tolist() == _PIXELS['mean']


@pytest.mark.parametrize(('mean', 'is_warned'), [([1.0, 2.0, 3.0], True), (_PIXELS['mean'], False)])
def test_options_that_the_students_data_preprocessor_overrides_are_a_warning(
    mean: list[float], is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr('lckd_mm.models.utils.build.print_log', lambda message, **_: messages.append(message))
    student = dict(classifier(), data_preprocessor=dict(type='ClsDataPreprocessor', **_PIXELS))
    model = build_distillation(architecture=student, data_preprocessor=dict(mean=mean))
    assert model.data_preprocessor.mean.flatten().tolist() == _PIXELS['mean']
    assert len(messages) == is_warned
    assert all("{'mean': [1.0, 2.0, 3.0]}" in message for message in messages)


@pytest.mark.parametrize('kind', ['SegDataPreProcessor', 'mmseg.SegDataPreProcessor'])
def test_data_preprocessor_at_the_top_level_keeps_cfg_options_of_the_student(kind: str) -> None:
    student = dict(
        cfg_path='mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        cfg_options={'data_preprocessor.size': (64, 96), 'backbone.init_cfg': None, 'pretrained': None},
    )
    taps = ['backbone.layer3', 'backbone.layer4']
    model = build_distillation(
        spectral_distiller(taps=taps),
        architecture=student,
        teacher=student,
        data_preprocessor=dict(type=kind, size=(32, 32)),
    )
    assert tuple(model.data_preprocessor.size) == (64, 96)


def test_a_layer_that_repeats_the_images_in_training_is_reported(batch) -> None:
    model = build_distillation(teacher=classifier())
    model.init_weights()
    # The head has as many scores as annotations.
    model.student.backbone.layer3[-1].register_forward_hook(
        lambda module, inputs, output: output.repeat(3, 1, 1, 1) if module.training else output
    )
    model.student.backbone.layer4.register_forward_pre_hook(lambda module, inputs: inputs[0][: len(batch[0])])
    message = r"12 maps at the student's 'backbone.layer3' in training.* name other layers"
    with pytest.raises(ConfigRuntimeError, match=message):
        train_step(model, batch)
