from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from lckd_mm.engine import LipschitzMonitorHook
from lckd_mm.engine.hooks.lipschitz_monitor_hook import read_norms


def _runner(work_dir: Path, iteration: int = 0) -> SimpleNamespace:
    model = nn.Module()
    model.distiller = nn.Module()
    teacher = torch.tensor([[2.0, 4.0], [5.0, 5.0]])
    model.distiller.spectral_norms = dict(loss_lipschitz=dict(student=teacher / 2, teacher=teacher))
    hub = MessageHub.get_instance('lipschitz_monitor_hook')
    return SimpleNamespace(model=model, message_hub=hub, work_dir=str(work_dir), iter=iteration)


def _train(hook: LipschitzMonitorHook, runner: SimpleNamespace, until: int) -> None:
    hook.before_train(runner)
    while runner.iter < until:
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1
    hook.after_train(runner)


def test_norms_gaps_and_bound_go_to_the_log_the_csv_and_a_picture(tmp_path: Path) -> None:
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
    assert (tmp_path / 'lipschitz' / 'spectral_norms.png').stat().st_size > 10_000


def test_a_resumed_training_goes_on_in_the_same_csv(tmp_path: Path) -> None:
    _train(LipschitzMonitorHook(interval=10), _runner(tmp_path), 30)
    path = tmp_path / 'lipschitz' / 'spectral_norms.csv'
    # The training was cut off while a line was written.
    path.write_text(path.read_text()[:-9])
    _train(LipschitzMonitorHook(interval=10), _runner(tmp_path, iteration=20), 40)
    assert [r['iter'] for r in read_norms(path) if r['pair'] == '0'] == [1, 10, 20, 30, 40]


def test_a_new_training_begins_a_new_csv(tmp_path: Path) -> None:
    for _ in range(2):
        _train(LipschitzMonitorHook(interval=10), _runner(tmp_path), 10)
    assert [r['iter'] for r in read_norms(tmp_path / 'lipschitz' / 'spectral_norms.csv') if r['pair'] == '0'] == [1, 10]


def test_what_it_cannot_read_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='interval=0'):
        LipschitzMonitorHook(interval=0)
    runner = _runner(tmp_path)
    del runner.model.distiller.spectral_norms
    with pytest.raises(ValueError, match='LipschitzDistiller'):
        LipschitzMonitorHook().before_train(runner)
