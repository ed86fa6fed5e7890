"""The frozen teacher stays as it was loaded, whatever the training does to the model."""

import copy
import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError
from tests.helpers.small_classifiers import build_distillation, classifier, spectral_distiller, train_step


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_the_teacher_is_in_no_optimizer_weight_average_or_state() -> None:
    model = build_distillation()
    names = [name for name, _ in model.named_parameters()] + [name for name, _ in model.named_buffers()]
    assert names
    assert not any(name.startswith('teacher') for name in [*names, *model.state_dict(), *dict(model.named_modules())])
    trained = build_distillation(teacher_trainable=True)
    assert any(name.startswith('teacher.') for name in trained.state_dict())
    assert any(name.startswith('teacher.') for name, _ in trained.named_parameters())


@pytest.mark.parametrize(
    ('convert', 'dtype'),
    [
        (lambda model: model.double(), torch.float64),
        (lambda model: model.to(torch.bfloat16), torch.bfloat16),
        (lambda model: model.to('meta'), torch.float32),
    ],
)
def test_the_teacher_follows_the_model(convert: Callable, dtype: torch.dtype) -> None:
    model = convert(build_distillation())
    for network in (model.student, model.teacher):
        weight = next(network.parameters())
        assert (weight.dtype, weight.device) == (dtype, next(model.parameters()).device)
    devices = {module._device for module in (model.data_preprocessor, model.teacher.data_preprocessor)}
    assert len(devices) == 1


@pytest.mark.parametrize(('norm_eval', 'expected'), [(True, False), (False, True)])
def test_the_mode_of_the_teacher_follows_teacher_norm_eval(norm_eval: bool, expected: bool) -> None:
    model = build_distillation(teacher_norm_eval=norm_eval)
    model.train()
    assert model.teacher.training is model.teacher.backbone.bn1.training is expected
    model.eval()
    assert not model.teacher.training


@pytest.mark.skipif(torch.cuda.is_available(), reason='SyncBN runs on a GPU')
def test_sync_bn_of_the_teacher_is_replaced_without_a_gpu(batch: tuple) -> None:
    teacher = classifier(depth=50)
    teacher['backbone']['norm_cfg'] = dict(type='SyncBN')
    # The BNs themselves are tapped: their replacements have to be recorded.
    taps = [f'backbone.layer{stage}.1.bn2' for stage in (1, 2, 3, 4)]
    model = build_distillation(spectral_distiller(taps=taps), teacher=teacher, teacher_norm_eval=False)
    before = _state(model.teacher)
    model.init_weights()
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.teacher.modules())
    assert before.keys() == model.teacher.state_dict().keys()
    assert train_step(model, batch)['distill.loss_lipschitz'] > 0
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())


def test_a_copy_shares_the_teacher_and_computes_the_same_losses(batch: tuple) -> None:
    model = build_distillation()
    model.init_weights()
    copied = copy.deepcopy(model)
    assert copied.teacher is model.teacher
    assert copied.student is not model.student
    first, second = train_step(copied, batch), train_step(model, batch)
    assert first['distill.loss_lipschitz'] > 0
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_checkpoint_that_contains_a_teacher_leaves_the_teacher_as_it_is() -> None:
    model = build_distillation()
    before = _state(model.teacher)
    state = {**model.state_dict(), **{f'teacher.{key}': value + 1 for key, value in before.items()}}
    model.load_state_dict(state)
    torch.testing.assert_close(model.teacher.state_dict(), before, rtol=0, atol=0)


def test_equal_networks_have_no_lipschitz_loss(batch: tuple) -> None:
    model = build_distillation(spectral_distiller(adapters=False), teacher=classifier())
    model.init_weights()
    model.teacher.load_state_dict(model.student.state_dict())
    model.eval()
    assert model(*batch, mode='loss')['distill.loss_lipschitz'] == 0


@pytest.mark.parametrize(('depth', 'is_warned'), [(18, True), (50, False)])
def test_a_teacher_smaller_than_the_student_is_a_warning(
    depth: int, is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = []
    path = 'lckd_mm.models.utils.teacher.print_log'
    monkeypatch.setattr(path, lambda message, **options: messages.append((message, options.get('level'))))
    build_distillation(architecture=classifier(depth=50), teacher=classifier(depth=depth))
    warnings = [message for message, level in messages if 'exchanged' in message and level == logging.WARNING]
    assert len(warnings) == is_warned


@pytest.mark.parametrize('part', ['teacher', 'architecture'])
def test_several_teachers_or_students_are_rejected(part: str) -> None:
    with pytest.raises(ConfigValueError, match=r'2 models in a list: .* one teacher'):
        build_distillation(**{part: [classifier(), classifier()]})


def test_sync_bn_of_the_teacher_is_replaced_in_a_single_process_on_a_gpu(
    batch: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A training SyncBN requires a process group.
    monkeypatch.setattr('lckd_mm.models.algorithms.lipschitz_distill.get_device', lambda: 'cuda')
    teacher = classifier(depth=50)
    teacher['backbone']['norm_cfg'] = dict(type='SyncBN')
    model = build_distillation(teacher=teacher, teacher_norm_eval=False)
    model.init_weights()
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.teacher.modules())
