from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from lckd_mm.cli.hooks import ADDED_HOOKS, add_default_hooks

from ..scripts.toy_training import make_runner


def hooks_after(**content: Any) -> Config:
    cfg = Config(content)
    add_default_hooks(cfg, ADDED_HOOKS)
    return cfg


def test_hooks_are_added_to_the_default_hooks() -> None:
    cfg = hooks_after(default_hooks=dict(logger=dict(type='LoggerHook')))
    assert list(cfg.default_hooks) == ['logger', *ADDED_HOOKS]
    assert cfg.default_hooks.class_count == dict(type='mmrazor.ClassCountHook')


def test_existing_entries_stay() -> None:
    own = dict(type='mmrazor.ClassCountHook', priority='LOW')
    cfg = hooks_after(default_hooks=dict(class_count=own, annotation_check=None))
    assert cfg.default_hooks.class_count == own
    assert cfg.default_hooks.annotation_check is None


@pytest.mark.parametrize('kind', ['mmrazor.ClassCountHook', 'ClassCountHook'])
def test_hook_is_not_added_a_second_time(kind: str) -> None:
    assert 'class_count' not in hooks_after(custom_hooks=[dict(type=kind)]).default_hooks
    assert 'class_count' not in hooks_after(default_hooks=dict(classes=dict(type=kind))).default_hooks


@pytest.mark.parametrize('name', ADDED_HOOKS)
def test_each_check_is_switched_off_by_its_name(name: str, tmp_path: Path) -> None:
    cfg = hooks_after(default_hooks={name: None})
    assert cfg.default_hooks[name] is None
    runner = make_runner(tmp_path, default_hooks=cfg.default_hooks)
    added = {type(hook).__name__ for hook in runner.hooks} & set(ADDED_HOOKS.values())
    assert added == set(ADDED_HOOKS.values()) - {ADDED_HOOKS[name]}
