"""The option `compile` of mmengine's runners with models that define their own method `compile`."""

import logging
from types import SimpleNamespace
from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
import torch
from mmengine._strategy.base import BaseStrategy
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from lckd_mm.errors import ConfigTypeError


class Plain(BaseModel):
    def train_step(self, *args: Any) -> str:
        return 'step'

    def forward(self) -> str:
        return 'forward'


class Compiling(Plain):
    options: dict[str, Any] | None = None

    def compile(self, **options: Any) -> None:
        self.options = options


class Wrapper(nn.parallel.DistributedDataParallel):
    """A wrapper for distributed training, without processes."""

    def __init__(self, module: nn.Module) -> None:
        nn.Module.__init__(self)
        self.module = module

    def train_step(self, *args: Any) -> str:
        return 'step'


def compile_with_runner(model: nn.Module, option: Any) -> None:
    config = Config({} if option is None else dict(compile=option))
    Runner._maybe_compile(SimpleNamespace(model=model, cfg=config, logger=logging.getLogger()), 'train_step')


def compile_with_strategy(model: nn.Module, option: Any) -> None:
    # FlexibleRunner adds the target.
    option = dict(option, target='train_step') if isinstance(option, dict) else option or False
    assert BaseStrategy.compile_model(SimpleNamespace(logger=logging.getLogger()), model, option) is model


RUNNERS = pytest.mark.parametrize('compile_model', [compile_with_runner, compile_with_strategy])


@RUNNERS
@pytest.mark.parametrize(
    ('option', 'expected'),
    [
        (None, None),
        (False, None),
        (True, {}),
        (dict(), {}),
        (dict(backend='eager', options=dict(a=1)), dict(backend='eager', options=dict(a=1))),
    ],
)
@pytest.mark.parametrize('wrapper', [lambda model: model, Wrapper])
def test_the_model_compiles_itself(compile_model: Any, wrapper: Any, option: Any, expected: Any) -> None:
    model = Compiling()
    wrapped = wrapper(model)
    compile_model(wrapped, option)
    assert model.options == expected
    # torch accepts plain dicts only.
    assert not any(isinstance(value, ConfigDict) for value in (model.options or {}).values())
    assert 'train_step' not in vars(wrapped)


@RUNNERS
def test_the_training_step_of_another_model_is_compiled(compile_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, 'compile', lambda function, **options: (function.__name__, options))
    model = Plain()
    compile_model(model, dict(backend='eager'))
    assert model.train_step == ('train_step', dict(backend='eager'))


def test_another_type_is_reported() -> None:
    with pytest.raises(ConfigTypeError, match='compile=3 is no dict'):
        compile_with_runner(Compiling(), 3)
