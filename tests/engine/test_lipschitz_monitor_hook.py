import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmrazor.models.distillers import ConfigurableDistiller
from torch import nn

from lckd_mm.engine import LipschitzMonitorHook
from lckd_mm.engine.norm_log import read_norms
from lckd_mm.errors import ConfigError

from ..helpers.runners import distillation_model, fake_runner


def _runner(work_dir: Path, iteration: int = 0) -> SimpleNamespace:
    teacher = torch.tensor([[2.0, 4.0], [5.0, 5.0]])
    norms = dict(loss_lipschitz=dict(student=teacher / 2, teacher=teacher))
    model = distillation_model(norm_losses=['loss_lipschitz'], spectral_norms=norms)
    return fake_runner(model, work_dir=str(work_dir), iter=iteration)


def _train(hook: LipschitzMonitorHook, runner: SimpleNamespace, num_iters: int) -> None:
    hook.before_train(runner)
    while runner.iter < num_iters:
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1
    hook.after_train_epoch(runner)
    hook.after_train(runner)


def test_norms_gaps_and_bound_go_to_the_log_the_csv_and_the_plot(tmp_path: Path) -> None:
    runner = _runner(tmp_path)
    _train(LipschitzMonitorHook(interval=10), runner, 20)
    rows = read_norms(tmp_path / 'lipschitz' / 'spectral_norms.csv')
    assert [(r['iter'], r['pair']) for r in rows] == [(i, p) for i in (1, 10, 20) for p in ('0', '1', 'bound')]
    assert [(r['teacher'], r['student'], r['gap']) for r in rows[:3]] == [
        (3, 1.5, -1.5),
        (5, 2.5, -2.5),
        (15, 3.75, -11.25),
    ]
    assert runner.message_hub.get_scalar('train/lipschitz/pair1_teacher').current() == 5
    assert runner.message_hub.get_scalar('train/lipschitz/pair1_student').current() == 2.5
    assert (tmp_path / 'lipschitz' / 'spectral_norms.png').stat().st_size > 10_000


def test_a_resumed_training_continues_the_same_csv(tmp_path: Path) -> None:
    _train(LipschitzMonitorHook(interval=10), _runner(tmp_path), 30)
    path = tmp_path / 'lipschitz' / 'spectral_norms.csv'
    # The training was interrupted while it wrote a line.
    path.write_text(path.read_text()[:-9])
    _train(LipschitzMonitorHook(interval=10), _runner(tmp_path, iteration=20), 40)
    assert [r['iter'] for r in read_norms(path) if r['pair'] == '0'] == [1, 10, 20, 30, 40]


def test_a_new_training_starts_a_new_csv(tmp_path: Path) -> None:
    for _ in range(2):
        _train(LipschitzMonitorHook(interval=10), _runner(tmp_path), 10)
    assert [r['iter'] for r in read_norms(tmp_path / 'lipschitz' / 'spectral_norms.csv') if r['pair'] == '0'] == [1, 10]


def test_an_interval_of_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match='interval=0') as error:
        LipschitzMonitorHook(interval=0)
    assert isinstance(error.value, ConfigError)


@pytest.mark.parametrize('distiller', [nn.Module(), ConfigurableDistiller(student_recorders={}, teacher_recorders={})])
def test_a_distiller_that_does_not_report_norms_is_rejected_before_training(
    tmp_path: Path, distiller: nn.Module
) -> None:
    runner = _runner(tmp_path)
    runner.model.distiller = distiller
    with pytest.raises(ValueError, match=rf'is a {type(distiller).__name__}: use a LipschitzDistiller') as error:
        LipschitzMonitorHook().before_train(runner)
    assert isinstance(error.value, ConfigError)


def test_without_a_loss_that_compares_norms_the_hook_says_so_once_and_writes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runner = _runner(tmp_path)
    runner.model.distiller.norm_losses, runner.model.distiller.spectral_norms = [], {}
    with caplog.at_level(logging.INFO, logger='fake_runner'):
        _train(LipschitzMonitorHook(interval=1), runner, 3)
    assert [record.message for record in caplog.records] == [
        'LipschitzMonitorHook: no loss of this distillation compares spectral norms, so no norms are logged.'
    ]
    assert not list(tmp_path.iterdir())
