"""A frozen teacher with folded BNs, another memory format or another precision gives the maps of the teacher as it is."""

import copy
import weakref
from typing import Any

import pytest
import torch
from mmrazor.models.task_modules import RecorderManager
from torch import Tensor, nn

from lckd_mm.errors import ConfigTypeError, ConfigValueError
from lckd_mm.models.algorithms import teacher_execution
from lckd_mm.models.algorithms.teacher_execution import TeacherExecution
from tests.helpers.small_classifiers import (
    TAPS,
    build_distillation,
    classification_batch,
    classifier,
    ofd_distiller,
    spectral_distiller,
    train_step,
)

EXACT = dict(fold_bn=True, channels_last=True)


def build(execution: dict[str, Any] | None = None, distiller: dict[str, Any] | None = None) -> nn.Module:
    """Build an initialized distillation; the statistics of the teacher's BNs are as after a training."""
    model = build_distillation(distiller, teacher_execution=execution)
    generator = torch.Generator().manual_seed(2)
    model.teacher.init_weights()
    for bn in (module for module in model.teacher.modules() if isinstance(module, nn.BatchNorm2d)):
        for tensor, low, high in (
            (bn.weight, 0.2, 1.0),
            (bn.bias, -0.3, 0.3),
            (bn.running_mean, -0.5, 0.5),
            (bn.running_var, 0.5, 2.0),
        ):
            tensor.data.uniform_(low, high, generator=generator)
    model.teacher._is_init = True
    model.init_weights()
    return model


def recorded(model: nn.Module) -> list[Tensor]:
    """Return the maps that the teacher records in a training step."""
    model.distiller.set_deliveries_override(False)
    model._run_teacher(*classification_batch(), examined=False)
    recorders = model.distiller.teacher_recorders.recorders.values()
    return [recorder.get_record_data() for recorder in recorders]


def assert_within_bound(actual: list[Tensor], expected: list[Tensor]) -> None:
    for value, reference in zip(actual, expected, strict=True):
        assert (value - reference).norm() <= 1e-5 * reference.norm()


class TestExactModes:
    def test_maps_are_those_of_the_teacher_as_it_is(self) -> None:
        model = build(EXACT)
        num_bns = sum(isinstance(module, nn.BatchNorm2d) for module in model.teacher.modules())
        assert model._teacher_execution.modes == ['channels_last', 'fold_bn']
        assert len(model._teacher_execution.folded) == num_bns
        actual = recorded(model)
        assert_within_bound(actual, recorded(build()))
        assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in actual)

    def test_folded_bns_compute_nothing(self) -> None:
        model = build(EXACT)
        with torch.profiler.profile() as profile:
            recorded(model)
        names = {event.key for event in profile.key_averages()}
        assert 'aten::convolution' in names
        assert 'aten::batch_norm' not in names

    def test_losses_and_margins_are_those_of_the_teacher_as_it_is(self) -> None:
        losses, expected = (
            train_step(build(execution, ofd_distiller()), classification_batch()) for execution in (EXACT, None)
        )
        assert set(losses) == set(expected)
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-6)

    def test_the_teacher_keeps_its_state_and_its_modules(self) -> None:
        model = build(EXACT)
        state = {key: value.clone() for key, value in model.teacher.state_dict().items()}
        modules = list(model.teacher.modules())
        recorded(model)
        assert list(model.teacher.modules()) == modules
        torch.testing.assert_close(dict(model.teacher.state_dict()), state, rtol=0, atol=0)
        images, _ = classification_batch()
        with torch.no_grad():
            torch.testing.assert_close(model.teacher(images), build().teacher(images), rtol=0, atol=0)

    def test_weights_that_are_loaded_later_are_used(self) -> None:
        model, other = build(EXACT), build()
        with torch.no_grad():
            for tensor in (*other.teacher.parameters(), *other.teacher.buffers()):
                tensor.mul_(1.25 if tensor.is_floating_point() else 1)
        recorded(model)
        model.teacher.load_state_dict(other.teacher.state_dict())
        assert_within_bound(recorded(model), recorded(other))

    def test_a_copy_gives_the_same_maps(self) -> None:
        model = build(EXACT)
        copied = copy.deepcopy(model)
        assert copied._teacher_execution.folded == model._teacher_execution.folded
        torch.testing.assert_close(recorded(copied), recorded(model), rtol=0, atol=0)

    def test_the_data_type_of_the_model_is_followed(self) -> None:
        model = build(EXACT).double()
        images, samples = classification_batch()
        model._run_teacher(images.double(), samples, examined=False)
        records = [recorder.get_record_data() for recorder in model.distiller.teacher_recorders.recorders.values()]
        assert {record.dtype for record in records} == {torch.float64}

    def test_a_compiled_teacher_gives_the_same_maps(self) -> None:
        torch._dynamo.reset()
        model = build(EXACT)
        expected = recorded(model)
        model.compile(backend='aot_eager')
        assert_within_bound(recorded(model), expected)
        torch._dynamo.reset()

    def test_records_are_freed_after_the_losses(self) -> None:
        model = build(EXACT)
        recorders = model.distiller.teacher_recorders.recorders.values()
        references: list[Any] = []
        compute = model.distiller.compute_distill_losses

        def observe(*args: Any) -> dict[str, Tensor]:
            references.extend(weakref.ref(recorder.data_buffer[0]) for recorder in recorders)
            return compute(*args)

        model.distiller.compute_distill_losses = observe
        losses = train_step(model, classification_batch())
        assert len(references) == len(TAPS)
        assert losses
        assert not any(reference() is not None for reference in references)


class Branches(nn.Module):
    """Convolutions before BNs: one that can be folded, one that two layers read, one that is called twice, and one that is tapped."""

    def __init__(self) -> None:
        super().__init__()
        for name in ('plain', 'shared', 'repeated', 'tapped'):
            self.add_module(name, nn.Conv2d(3, 3, 1))
            self.add_module(f'{name}_bn', nn.BatchNorm2d(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.plain_bn(self.plain(x))
        shared = self.shared(x)
        x = self.shared_bn(shared) + shared
        x = self.repeated_bn(self.repeated(self.repeated(x)))
        return self.tapped_bn(self.tapped(x))


class TestFoldedLayers:
    @pytest.mark.parametrize(
        'recorder', [dict(type='ModuleOutputs', source='tapped'), dict(type='ModuleInputs', source='tapped_bn')]
    )
    def test_only_a_bn_that_alone_reads_its_convolution_is_folded(self, recorder: dict[str, str]) -> None:
        torch.manual_seed(0)
        network = Branches().eval()
        manager = RecorderManager(dict(tap=recorder, last=dict(type='ModuleOutputs', source='tapped_bn')))
        manager.initialize(network)
        execution = TeacherExecution(fold_bn=True)
        execution.prepare(network, manager, [torch.randn(2, 3, 4, 4)])
        assert execution.folded == [network.plain_bn]

    def test_a_tapped_bn_is_folded_and_recorded(self) -> None:
        distiller = spectral_distiller(taps=[f'{tap}.0.bn3' for tap in TAPS], student_taps=TAPS)
        model = build(dict(fold_bn=True), distiller)
        assert model.teacher.backbone.layer1[0].bn3 in model._teacher_execution.folded
        assert_within_bound(recorded(model), recorded(build(None, distiller)))


class TestPrecision:
    def test_bfloat16_changes_the_maps_by_its_rounding_and_they_are_float32(self) -> None:
        actual, expected = recorded(build(dict(precision='bfloat16'))), recorded(build())
        for value, reference in zip(actual, expected, strict=True):
            assert value.dtype == torch.float32
            assert 1e-4 < (value - reference).norm() / reference.norm() < 0.1

    def test_losses_train_the_student(self) -> None:
        model = build(dict(precision='bfloat16', **EXACT), ofd_distiller())
        assert all(loss.isfinite() for loss in train_step(model, classification_batch()).values())

    def test_under_autocast_the_maps_keep_its_type(self) -> None:
        model = build(dict(precision='bfloat16'))
        with torch.autocast('cpu', torch.bfloat16):
            assert {feature.dtype for feature in recorded(model)} == {torch.bfloat16}


class TestChecks:
    def test_a_mode_beyond_the_bound_stays_off_with_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(teacher_execution, 'BOUND', 1e-12)
        messages: list[str] = []
        monkeypatch.setattr(teacher_execution, '_warn', messages.append)
        model = build(dict(fold_bn=True))
        assert model._teacher_execution.modes == []
        assert "teacher_execution.fold_bn stays off: it changes the teacher's tap 'backbone.layer" in messages[0]
        torch.testing.assert_close(recorded(model), recorded(build()), rtol=0, atol=0)

    @pytest.mark.parametrize(
        ('changes', 'error', 'message'),
        [
            (dict(teacher_execution=dict(fold=True)), ConfigTypeError, "'fold' is unknown; .*did you mean 'fold_bn'"),
            (
                dict(teacher_execution=True),
                ConfigTypeError,
                'teacher_execution=True is no dict: give its options, fold_bn or',
            ),
            (dict(teacher_execution=dict(fold_bn='yes')), ConfigTypeError, "fold_bn='yes' is not a bool"),
            (dict(teacher_execution=dict(precision='half')), ConfigValueError, "precision 'half' is unknown"),
            (
                dict(teacher_execution=EXACT, teacher_norm_eval=False),
                ConfigValueError,
                'frozen teacher in evaluation mode',
            ),
            (
                dict(teacher_execution=EXACT, teacher_trainable=True),
                ConfigValueError,
                'frozen teacher in evaluation mode',
            ),
        ],
    )
    def test_invalid_options_are_reported_at_construction(
        self, changes: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            build_distillation(**changes, teacher=classifier(depth=50))
