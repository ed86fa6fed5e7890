"""Distillations whose networks are compiled."""

import copy
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from lckd_mm.engine.hooks import LipschitzBalanceHook, LipschitzMonitorHook
from lckd_mm.errors import ConfigTypeError, ConfigValueError
from lckd_mm.models.algorithms.compiled_networks import CompiledParts
from tests.helpers.small_classifiers import build_distillation, classification_batch, train_step
from tests.helpers.toy_runners import toy_runner

TAPS = [f'backbone.layer{stage}' for stage in (1, 2, 3)]
LOSSES = ['lipschitz', dict(type='ofd', loss_weight=1.0), dict(type='kd', tau=4.0, loss_weight=0.5)]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def network(base_channels: int, **backbone: Any) -> dict[str, Any]:
    """Return the config of a classifier of three stages with one block each, which compiles in half a second."""
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='mmrazor.CIFARResNet', depth=8, base_channels=base_channels, **backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=4 * base_channels),
    )


def distillation(losses: Sequence[Any] = ('lipschitz',), taps: Sequence[str] = TAPS, **student: Any) -> dict[str, Any]:
    """Return the changes of `build_distillation` for two such classifiers."""
    distiller = dict(type='LipschitzDistiller', taps=list(taps), losses=list(losses))
    return dict(architecture=network(4, **student), teacher=network(8), distiller=distiller)


def build(**changes: Any) -> nn.Module:
    model = build_distillation(**{**distillation(), **changes})
    model.init_weights()
    return model


class Recorder(Hook):
    """Records all losses and the weight of the Lipschitz loss."""

    # After the hooks that set the weight.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.weights: list[float] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append({name: float(value) for name, value in outputs.items()})
        self.weights.append(float(runner.model.distiller.distill_losses['loss_lipschitz'].loss_weight))


class Result(NamedTuple):
    losses: list[dict[str, float]]
    weights: list[float]
    norms: list[list[str]]
    state: dict[str, torch.Tensor]


def train(work_dir: Path, changes: dict[str, Any], hooks: list[Any], compile: Any = None) -> Result:
    """Train for three epochs of two iterations, and validate once."""
    preprocessor = dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.0] * 3, std=[60.0] * 3)
    model = build_distillation(**changes, data_preprocessor=preprocessor)
    cycle = dict(by_epoch=True, max_epochs=3, val_interval=3)
    runner = toy_runner(model, work_dir, cfg=dict(compile=compile), train_cfg=cycle)
    recorder = Recorder()
    for hook in (*hooks, LipschitzMonitorHook(interval=1), recorder):
        runner.register_hook(hook)
    runner.train()
    norms = list(csv.reader((work_dir / 'lipschitz' / 'spectral_norms.csv').open()))
    return Result(recorder.losses, recorder.weights, norms, runner.model.state_dict())


def assert_equal(result: Result, expected: Result) -> None:
    assert result.losses == expected.losses
    assert result.weights == expected.weights
    assert result.norms == expected.norms
    torch.testing.assert_close(result.state, expected.state, rtol=0, atol=0)


class CountingBackend:
    """Runs each graph as it is, and counts the graphs and their calls."""

    def __init__(self) -> None:
        self.graphs = 0
        self.calls = 0

    def __call__(self, graph: torch.fx.GraphModule, example_inputs: list) -> Any:
        self.graphs += 1

        def run(*arguments: Any) -> Any:
            self.calls += 1
            return graph.forward(*arguments)

        return run


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The training with all losses without compilation."""
    return train(tmp_path_factory.mktemp('plain'), distillation(LOSSES), balance_and_stop())


def balance_and_stop() -> list[Any]:
    """Return hooks that balance the Lipschitz loss, and stop the distillation before the last epoch."""
    return [LipschitzBalanceHook(interval=1), dict(type='StopDistillHook', stop_epoch=2)]


@pytest.mark.parametrize('backend', ['eager', 'aot_eager'])
def test_training_of_compiled_networks_equals_that_without_compilation(
    tmp_path: Path, plain: Result, backend: str
) -> None:
    options = dict(backend=backend, fullgraph=True)
    compiled = train(tmp_path, distillation(LOSSES), balance_and_stop(), options)
    assert [len(losses) for losses in compiled.losses] == [5] * 4 + [2] * 2
    assert_equal(compiled, plain)


@pytest.mark.slow
def test_inductor_equals_training_without_compilation_to_rounding(tmp_path: Path, plain: Result) -> None:
    compiled = train(tmp_path, distillation(LOSSES), balance_and_stop(), compile=True)
    for losses, expected in zip(compiled.losses, plain.losses, strict=True):
        assert losses == pytest.approx(expected, rel=1e-4)
    assert compiled.weights == pytest.approx(plain.weights, rel=1e-4)


def test_gradients_are_measured_for_the_parameters_that_the_loss_reaches(tmp_path: Path) -> None:
    # The loss does not reach the third stage, which is in one compiled part with the others.
    changes = distillation(taps=TAPS[:2])
    # Measured in the iterations 0, 1, 2, 4 and 5, and compiled in the iteration 3.
    compiled, plain = (
        train(tmp_path / name, changes, [LipschitzBalanceHook(measure='gradient', measure_interval=5)], options)
        for name, options in (('compiled', dict(backend='aot_eager')), ('plain', None))
    )
    assert_equal(compiled, plain)
    assert len(set(plain.weights)) > 3


class TestParts:
    def test_each_part_is_one_graph_with_its_recorders_inside(self) -> None:
        model, backend = build(), CountingBackend()
        model.compile(backend=backend, fullgraph=True)
        num_graphs = backend.graphs
        train_step(model, classification_batch())
        # The first step is checked, for which it runs without compilation.
        assert backend.graphs == num_graphs
        train_step(model, classification_batch())
        # The student's backbone, neck and head, and the teacher's backbone, after which the teacher stops.
        assert backend.graphs == num_graphs + 4
        calls = backend.calls
        model.eval()
        model(*classification_batch(), mode='predict')
        assert backend.calls == calls

    def test_elements_of_a_container_are_parts(self) -> None:
        module = nn.ModuleDict(dict(heads=nn.ModuleList([nn.Linear(1, 1), nn.ReLU()]), neck=nn.Identity()))
        assert CompiledParts(module, backend='eager').names == ['heads.0', 'heads.1', 'neck']

    def test_a_replaced_forward_is_compiled_and_restored(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2))
        original = module[0].forward
        # As activation checkpointing does.
        module[0].forward = replaced = lambda x: 2 * original(x)
        parts, x = CompiledParts(module, backend='eager'), torch.ones(1, 2)
        with parts.in_use():
            assert module[0].forward is not replaced
            assert torch.equal(module(x), 2 * original(x))
        assert module[0].forward is replaced

    def test_forward_is_restored_after_an_error(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2))
        parts = CompiledParts(module, backend='eager')
        with pytest.raises(ZeroDivisionError), parts.in_use():
            _ = 1 / 0
        assert 'forward' not in vars(module[0])

    def test_a_copy_is_not_compiled_and_equal(self) -> None:
        model, backend = build(), CountingBackend()
        model.compile(backend=backend)
        copied = copy.deepcopy(model)
        for _ in range(2):
            calls = backend.calls
            expected = train_step(copied, classification_batch())
            assert backend.calls == calls
            torch.testing.assert_close(train_step(model, classification_batch()), expected, rtol=0, atol=0)

    def test_a_student_with_parameters_that_no_loss_reaches_is_not_compiled(self) -> None:
        # Compiled, its third stage would get gradients of zero, and weight decay would change it.
        model = build(**distillation(taps=TAPS[:2]), calculate_student_loss=False)
        model.compile(backend='aot_eager')
        for _ in range(2):
            train_step(model, classification_batch())
        parameters = dict(model.student.named_parameters())
        assert parameters['backbone.layer3.0.conv1.weight'].grad is None
        assert parameters['backbone.layer1.0.conv1.weight'].grad is not None


class TestChecks:
    def test_a_loss_without_gradient_is_found(self) -> None:
        model = build(**distillation(frozen_stages=3))
        model.compile(backend='aot_eager')
        with pytest.raises(ConfigValueError, match='has no gradient for any parameter of the student'):
            train_step(model, classification_batch())

    def test_a_step_that_checks_a_loss_runs_without_compilation(self) -> None:
        model, backend = build(), CountingBackend()
        loss = model.distiller.distill_losses['loss_lipschitz']
        loss.loss_weight = 0.0
        model.compile(backend=backend)
        train_step(model, classification_batch())
        calls = backend.calls
        assert backend.graphs > 1
        loss.loss_weight = 1.0
        train_step(model, classification_batch())
        assert backend.calls == calls
        train_step(model, classification_batch())
        assert backend.calls > calls

    @pytest.mark.parametrize('backend', ['eager', 'aot_eager'])
    def test_a_distillation_inside_a_compiled_function_gives_the_same_losses(self, backend: str) -> None:
        model = build()
        expected = train_step(copy.deepcopy(model), classification_batch())
        losses = torch.compile(model, backend=backend)(*classification_batch(), mode='loss')
        torch.testing.assert_close(losses, expected, rtol=0, atol=0)


class TestOptions:
    @pytest.mark.parametrize(
        ('options', 'error', 'message'),
        [
            (
                dict(bakend='eager'),
                ConfigTypeError,
                "option of `compile` 'bakend' is unknown; .*did you mean 'backend'",
            ),
            (dict(backend='aot_eagr'), ConfigValueError, "'aot_eagr' is unknown; .*did you mean 'aot_eager'"),
            (dict(mode='fast'), ConfigValueError, r'does not work on this machine \(.*mode=fast.*default'),
            (dict(options=dict(foo=1)), ConfigValueError, 'Unexpected optimization option foo'),
        ],
    )
    def test_unknown_options_are_reported(self, options: dict[str, Any], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message) as info:
            build().compile(**options)
        assert len(str(info.value)) < 600

    def test_a_missing_compiler_is_reported_before_training(self) -> None:
        def backend(graph: Any, inputs: Any) -> Any:
            raise RuntimeError('No working C++ compiler found')

        with pytest.raises(ConfigValueError, match=r"No working C\+\+ compiler found.*'aot_eager'"):
            build().compile(backend=backend)
