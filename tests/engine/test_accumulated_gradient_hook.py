"""AccumulatedGradientHook in distributed training; tests/integration/test_exact_resume.py has the other cases."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from lckd_mm.engine.hooks import AccumulatedGradientHook, accumulated_gradient_hook


@pytest.mark.parametrize(('num_processes', 'is_saved'), [(1, True), (2, False)])
def test_gradients_of_one_of_several_processes_are_not_saved(
    num_processes: int, is_saved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulated_gradient_hook, 'get_world_size', lambda: num_processes)
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 0.1), accumulative_counts=2)
    checkpoint: dict[str, Any] = dict(optimizer={})
    AccumulatedGradientHook().before_save_checkpoint(SimpleNamespace(model=model, optim_wrapper=wrapper), checkpoint)
    assert ('accumulated_gradients' in checkpoint) is is_saved
