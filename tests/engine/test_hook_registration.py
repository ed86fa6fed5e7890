from pathlib import Path

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn

import lckd_mm  # noqa: F401  (registers the hooks)


@pytest.fixture(autouse=True)
def _restored_managers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the process-wide scope, log and visualizer that a Runner creates."""
    for manager in (DefaultScope, MessageHub, MMLogger, Visualizer):
        monkeypatch.setattr(manager, '_instance_dict', manager._instance_dict.copy())


@pytest.mark.parametrize('in_default_hooks', [True, False])
def test_hooks_run_before_the_logger_and_the_checkpoint(tmp_path: Path, in_default_hooks: bool) -> None:
    """The hooks of a distillation config, as named default hooks and as custom hooks."""
    hooks = dict(
        lipschitz_monitor=dict(type='mmrazor.LipschitzMonitorHook', interval=5),
        class_count=dict(type='mmrazor.ClassCountHook'),
        annotation_check=dict(type='mmrazor.AnnotationCheckHook'),
        lipschitz_balance=dict(type='mmrazor.LipschitzBalanceHook', measure='gradient', share=0.25),
        loss_weight=dict(type='mmrazor.LossWeightSchedulerHook', loss='loss_ofd', start_weight=1, end_weight=0),
    )
    runner = Runner(
        nn.Linear(1, 1),
        work_dir=str(tmp_path),
        default_hooks=hooks if in_default_hooks else None,
        custom_hooks=None if in_default_hooks else list(hooks.values()),
        experiment_name=f'hook_registration_{tmp_path.name}',
    )
    names = [type(hook).__name__ for hook in runner.hooks]
    ours = ['LipschitzMonitorHook', 'ClassCountHook', 'LipschitzBalanceHook', 'LossWeightSchedulerHook']
    assert all(names.index(name) < names.index('LoggerHook') < names.index('CheckpointHook') for name in ours)
    assert names.index('AnnotationCheckHook') < names.index('IterTimerHook')
    assert all('priority' in vars(type(h)) or h.priority == 'NORMAL' for h in runner.hooks if type(h).__name__ in ours)
