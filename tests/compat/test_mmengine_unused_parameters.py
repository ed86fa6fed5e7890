"""Distributed training of a distillation that leaves parameters without a gradient."""

import logging
from types import SimpleNamespace
from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.helpers.small_classifiers import build_distillation


@pytest.mark.parametrize(
    ('changes', 'config', 'expected'),
    [
        (dict(calculate_student_loss=False), {}, True),
        (dict(student_trainable=False), {}, True),
        ({}, {}, False),
        # The user's own setting has priority.
        (dict(calculate_student_loss=False), dict(find_unused_parameters=False), False),
    ],
)
def test_the_wrapper_expects_unused_parameters(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], config: dict[str, Any], expected: bool
) -> None:
    received: dict[str, Any] = {}
    monkeypatch.setattr(
        'mmengine.runner.runner.MMDistributedDataParallel', lambda module, **options: received.update(options) or module
    )
    monkeypatch.setenv('LOCAL_RANK', '0')
    runner = SimpleNamespace(distributed=True, cfg=Config(config), logger=logging.getLogger(__name__))
    Runner.wrap_model(runner, None, build_distillation(**changes))
    assert received['find_unused_parameters'] is expected
