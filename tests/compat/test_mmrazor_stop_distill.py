"""StopDistillHook: what it logs after the stop, and what it refuses before training."""

from pathlib import Path

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
from mmengine.runner import IterBasedTrainLoop
from mmrazor.engine.hooks import StopDistillHook

from lckd_mm.engine.hooks import LipschitzBalanceHook, LipschitzMonitorHook
from lckd_mm.engine.norm_log import read_norms
from lckd_mm.errors import ConfigError
from tests.helpers.runners import fake_runner
from tests.helpers.small_classifiers import build_distillation, classification_batch, train_step


def test_no_norms_and_no_share_are_logged_after_the_stop(tmp_path: Path) -> None:
    model = build_distillation()
    model.init_weights()
    monitor, balance = LipschitzMonitorHook(interval=1), LipschitzBalanceHook(interval=1)
    runner = fake_runner(model, work_dir=str(tmp_path), epoch=3)
    hub = runner.message_hub
    monitor.before_train(runner)
    balance.before_train(runner)
    for iteration in (0, 1):
        runner.iter = iteration
        if iteration:
            StopDistillHook(stop_epoch=3).before_train_epoch(runner)
        losses = train_step(model, classification_batch())
        outputs = dict(losses, loss=sum(losses.values()))
        hub.update_scalars({f'train/{name}': float(value.detach()) for name, value in outputs.items()})
        for hook in (monitor, balance):
            hook.after_train_iter(runner, iteration, outputs=outputs)
        logged = set(hub.log_scalars)
        expected = {'train/distill.loss_lipschitz', 'train/weight_loss_lipschitz', 'train/lipschitz/pair0_teacher'}
        assert (expected <= logged) is (iteration == 0)
    assert logged == {'train/loss', 'train/student.loss'}
    assert {row['iter'] for row in read_norms(tmp_path / 'lipschitz' / 'spectral_norms.csv')} == {1}


def test_log_is_kept_until_the_stop() -> None:
    runner = fake_runner(build_distillation(), epoch=2)
    runner.message_hub.update_scalar('train/distill.loss_lipschitz', 1.0)
    StopDistillHook(stop_epoch=3).before_train_epoch(runner)
    assert 'train/distill.loss_lipschitz' in runner.message_hub.log_scalars
    assert not runner.model.distillation_stopped


def test_stop_without_a_loss_of_the_student_is_refused_before_training() -> None:
    model = build_distillation(calculate_student_loss=False)
    model.init_weights()
    hook = StopDistillHook(stop_epoch=3)
    with pytest.raises(ConfigError, match='epoch 3, but calculate_student_loss=False leaves no loss of the student'):
        hook.before_train(fake_runner(model))
    hook.before_train(fake_runner(build_distillation()))
    model.distillation_stopped = True
    with pytest.raises(ConfigError, match='set calculate_student_loss=True, or remove the StopDistillHook'):
        train_step(model, classification_batch())


def test_stop_in_a_training_that_counts_iterations_is_refused_before_training() -> None:
    loop = IterBasedTrainLoop.__new__(IterBasedTrainLoop)
    runner = fake_runner(build_distillation(), train_loop=loop)
    with pytest.raises(ConfigError, match='stop_epoch=3 counts epochs, but the training counts iterations'):
        StopDistillHook(stop_epoch=3).before_train(runner)
